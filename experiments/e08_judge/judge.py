"""A simulated judge, and the reward that it gives, as exact sums over all responses."""

import dataclasses
from typing import NamedTuple

import numpy as np

from experiments.enumlm import World
from jaxalign.rewards import Completion, length_penalty

NOISE = 0.5
"""Standard deviation of what the judge adds to each comparison at random."""


class Judge(NamedTuple):
    """Prefers the first of two with probability σ(κ Δr + p + q Δ|y| + noise).

    Attributes:
      gold: κ, how much it sees of the gold reward.
      position: p, its liking for what is shown first.
      length: q, its liking for each further token.
    """

    gold: float
    position: float
    length: float

    def prefers_first(self, world: World) -> np.ndarray:
        """`[X, S, S]`: the chance that y (axis 1), shown first, beats y' (axis 2)."""
        gap = world.rewards[:, :, None] - world.rewards[:, None, :]
        lengths = world.responses.lengths
        longer = lengths[:, None] - lengths[None, :]
        logit = self.gold * gap + self.position + self.length * longer
        # Gauss–Hermite: the mean over the normal noise, exact to rounding.
        nodes, weights = np.polynomial.hermite_e.hermegauss(24)
        chances = 1 / (1 + np.exp(-(logit[..., None] + NOISE * nodes)))
        return chances @ (weights / weights.sum())


def in_both_orders(prefers_first: np.ndarray) -> np.ndarray:
    """(P(y, y') + 1 − P(y', y)) / 2: the mean of `rewards.preferences`, `[X, S, S]`."""
    return (prefers_first + 1 - prefers_first.swapaxes(1, 2)) / 2


def against_reference(world: World, chances: np.ndarray) -> np.ndarray:
    """The chance to beat a response of the reference, `[X, S]`."""
    return np.einsum("xij,xj->xi", chances, np.exp(world.ref_logps))


def without_length(world: World, rewards: np.ndarray) -> np.ndarray:
    """Rewards `[X, S]` plus the `length_penalty` that takes their bias out.

    Its weight is fitted: the slope on the length in a regression of the judge's reward
    on gold reward and length, under the reference. In the world outside that takes some
    responses whose true worth is known.
    """
    lengths = np.broadcast_to(world.responses.lengths, rewards.shape).ravel()
    inputs = np.stack([np.ones(lengths.shape), world.rewards.ravel(), lengths], axis=1)
    root = np.exp(world.ref_logps).ravel()[:, None] ** 0.5
    slopes, *_ = np.linalg.lstsq(
        root * inputs, root[:, 0] * rewards.ravel(), rcond=None
    )
    said = [Completion("", "", ids=range(n)) for n in world.responses.lengths]
    return rewards + 1000 * slopes[2] * np.array(length_penalty(said))


def with_rewards(world: World, rewards: np.ndarray) -> World:
    """The world as a policy sees it that is paid by the judge."""
    return dataclasses.replace(world, rewards=rewards)
