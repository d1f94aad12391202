"""Linear reward models, one for each of many data sets, as one program."""

import functools

import jax
import jax.numpy as jnp

from experiments.e10_reward_models.rankings import draw, inputs, margins
from experiments.enumlm import World
from experiments.minimise import lbfgs
from jaxalign.losses import Pair, bradley_terry_loss, kwise_loss, plackett_luce_loss

RIDGE = 1e-3
CENTER = 0.01


def fit(
    arm: str, world: World, num: int, size: int, data_seeds: tuple[int, ...]
) -> jax.Array:
    """Scores `[data sets, S]` of models that are fitted to `num` rankings each."""
    keys = jax.vmap(jax.random.key)(jnp.array(data_seeds))
    return _fit_all(arm, num, size, world, jnp.asarray(inputs(world)), keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _fit_all(arm, num, size, world, features, keys) -> jax.Array:
    run = functools.partial(_fit, arm, num, size)
    return jax.vmap(run, (None, None, 0))(world, features, keys)


def _fit(arm: str, num: int, size: int, world: World, features, key) -> jax.Array:
    ranked = draw(world, key, num, size)
    clear = margins(world, ranked) if arm == "margin" else None

    def loss(weights):
        scores = (features @ weights)[ranked]
        return _loss(arm, scores, clear) + RIDGE * jnp.sum(weights**2)

    return features @ lbfgs(loss, jnp.zeros(features.shape[-1], features.dtype))


def _loss(arm: str, scores: jax.Array, clear: jax.Array | None) -> jax.Array:
    there = jnp.ones(scores.shape, bool)
    if arm == "kwise":
        return kwise_loss(scores, there).loss.value
    if arm == "plackett_luce":
        return plackett_luce_loss(scores, there).loss.value
    pair = Pair(scores[:, 0], scores[:, 1])
    center = CENTER if arm == "centered" else 0.0
    out = bradley_terry_loss(pair, there[:, 0], margin=clear, center=center)
    return out.loss.value
