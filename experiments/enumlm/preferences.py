"""Preference pairs: how often each response is preferred to each other one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.enumlm.policy import token_logps
from experiments.enumlm.world import World
from jaxalign.losses import LossOutput, Pair


def population_preferences(
    world: World, *, scale: float = 1.0, flip: float = 0.0
) -> np.ndarray:
    """Share of each (chosen, rejected) pair among infinitely many.

    Both responses are drawn from the reference; y is preferred to y' with probability
    σ(scale · (r − r')), and the label is flipped with probability `flip`.

    Returns:
      `[X, S, S]`, which sums to 1 for each prompt.
    """
    ref, rewards = np.exp(world.ref_logps), world.rewards
    chance = _preferred(rewards[:, :, None] - rewards[:, None, :], scale, flip)
    return ref[:, :, None] * ref[:, None, :] * 2 * chance


def draw_preferences(
    world: World, num_pairs: int, seed: int, *, scale: float = 1.0, flip: float = 0.0
) -> Pair[np.ndarray]:
    """`num_pairs` (chosen, rejected) pairs for each prompt, as indices `[X, N]`."""
    rng = np.random.default_rng(seed)
    size = world.responses.num_responses
    pairs = Pair(*np.zeros((2, len(world.rewards), num_pairs), np.int64))
    for x, (logps, rewards) in enumerate(
        zip(world.ref_logps, world.rewards, strict=True)
    ):
        one, other = rng.choice(size, (2, num_pairs), p=np.exp(logps))
        chance = _preferred(rewards[one] - rewards[other], scale, flip)
        first = rng.random(num_pairs) < chance
        pairs.chosen[x] = np.where(first, one, other)
        pairs.rejected[x] = np.where(first, other, one)
    return pairs


def count_preferences(
    world: World, num_pairs: int, seed: int, *, scale: float = 1.0, flip: float = 0.0
) -> np.ndarray:
    """Share of each (chosen, rejected) pair among `num_pairs` drawn for each prompt."""
    pairs = draw_preferences(world, num_pairs, seed, scale=scale, flip=flip)
    size = world.responses.num_responses
    counts = np.zeros((len(world.rewards), size, size))
    for x in range(len(counts)):
        np.add.at(counts[x], (pairs.chosen[x], pairs.rejected[x]), 1 / num_pairs)
    return counts


def preferences_of(
    world: World, num_pairs: int, seed: int, *, flip: float = 0.0
) -> np.ndarray:
    """Shares of pairs that are drawn for each prompt; with 0 of all there are."""
    if not num_pairs:
        return population_preferences(world, flip=flip)
    return count_preferences(world, num_pairs, seed, flip=flip)


def preference_loss(
    world: World,
    preferences: np.ndarray | jax.Array,
    logits: jax.Array,
    loss_of: Callable[[Pair, Pair, Pair], LossOutput],
) -> jax.Array:
    """A pairwise loss averaged over pairs `[X, S, S]` and prompts, exactly.

    It is the loss of a batch that has every pair as often as it is drawn: sums are
    weighed by `preferences` and divided once, whatever the loss is a mean over.

    Args:
      world: The world.
      preferences: Share of each (chosen, rejected) pair, `[X, S, S]`.
      logits: `[X, P, V]`, the policy.
      loss_of: `(policy, ref, mask) -> LossOutput`, of pairs of `[1, T]` arrays: what
        the loss of one pair is.

    Returns:
      A scalar.
    """

    def of_pair(chosen, rejected):
        return loss_of(*(Pair(*side) for side in zip(chosen, rejected, strict=True)))

    def of_prompt(policy, ref):
        sides = policy[:, None], ref[:, None], mask[:, None]
        # What is of one side alone is computed S times, not S²: no rival is there yet.
        of_rivals = jax.vmap(of_pair, (None, 0))
        return jax.vmap(of_rivals, (0, None))(sides, sides).loss

    mask = jnp.asarray(world.responses.mask)
    policy = token_logps(logits, world.responses)
    ref = token_logps(jnp.asarray(world.ref_logits), world.responses)
    losses = jax.vmap(of_prompt)(policy, ref)
    shares = jnp.asarray(preferences)
    return jax.tree.map(lambda x: jnp.tensordot(shares, x, 3), losses).value


def _preferred(gap: np.ndarray, scale: float, flip: float) -> np.ndarray:
    chance = 1 / (1 + np.exp(-scale * gap))
    return (1 - flip) * chance + flip * (1 - chance)
