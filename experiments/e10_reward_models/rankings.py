"""Rankings of K responses, as somebody gives them who knows the gold reward."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.enumlm import World, make_world

GRADES = (0.5, 1.0, 2.0)
"""Gaps of the gold reward from which a preference is clearer by one grade of three."""


def world_of(seed: int) -> World:
    """One prompt, 364 responses, a gold reward that is linear in n-gram counts."""
    return make_world(seed, num_symbols=3, max_length=5, num_prompts=1, noise=0.0)


def draw(world: World, key: jax.Array, num: int, size: int) -> jax.Array:
    """Rankings `[num, size]`, best first, by the Plackett–Luce law of gold rewards.

    Responses are drawn from the reference. With two of them it is Bradley and Terry's.
    Sorting by reward plus Gumbel noise gives that law.
    """
    for_responses, for_noise = jax.random.split(key)
    logps = jnp.asarray(world.ref_logps[0])
    drawn = jax.random.categorical(for_responses, logps, shape=(num, size))
    noise = jax.random.gumbel(for_noise, (num, size), logps.dtype)
    values = jnp.asarray(world.rewards[0])[drawn] + noise
    return jnp.take_along_axis(drawn, jnp.argsort(-values, axis=-1), axis=-1)


def margins(world: World, pairs: jax.Array) -> jax.Array:
    """How clear each preference is, `[N, 2]` to `[N]`: 0, ⅓, ⅔ or 1."""
    rewards = jnp.asarray(world.rewards[0])[pairs]
    gap = jnp.abs(rewards[:, 0] - rewards[:, 1])
    return jnp.digitize(gap, jnp.array(GRADES)).astype(gap.dtype) / len(GRADES)


def inputs(world: World) -> np.ndarray:
    """Features `[S, F + 1]` in units of their deviation, and a constant.

    Their means are left in: the mean score is then free, as that of a transformer is.
    """
    ref = np.exp(world.ref_logps[0])
    spread = np.sqrt(ref @ (world.features - ref @ world.features) ** 2)
    scaled = world.features / np.where(spread > 0, spread, 1.0)
    return np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
