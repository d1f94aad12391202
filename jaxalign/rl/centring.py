"""Total rewards on their way to the device: centred in float64, checked for float32.

Methods that look at differences only are given differences: of two completions with
1000000000 and 1000000001 nothing would be left in float32.
"""

import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, Scores

_LOG = logging.getLogger("jaxalign")
NOISE = 1e-12
"""Rewards nearer than this, in units of the largest, are equal: sums are rounded."""
_APART = 1e-6  # what counts, in units of the spread, or of two rewards and of 1

LARGEST = 1e18
"""Of a reward whose square must fit into float32."""
LARGEST_SCALED = 1e30
"""Of a reward that is divided by the deviation of its group, by `sample_std`."""

Around: TypeAlias = Literal["group", "batch", "greedy"] | None
"""What only the difference from matters to a method; None: rewards are as they are."""


class Centred(NamedTuple):
    """Rewards less their centre.

    Attributes:
      rewards: `[G, K]` float64; 0 where none applies.
      centre: `[G]` float64, what was taken off.
    """

    rewards: np.ndarray
    centre: np.ndarray


def centred(
    totals: np.ndarray,
    applies: np.ndarray,
    around: Around = "group",
    greedy: np.ndarray | None = None,
) -> Centred:
    """Takes off what does not matter to a method.

    Args:
      totals: `[G, K]` float64; anything where no reward applies.
      applies: `[G, K]` bool.
      around: See `Around`.
      greedy: `[G]`, rewards of the greedy completions, for `greedy`; NaN where none
        applies.

    Returns:
      Rewards that are equal but for the rounding of sums are exactly equal.

    >>> totals = np.array([[0.1 + 0.2, 0.3], [1e9, 1e9 + 1]])
    >>> print(centred(totals, totals > 0).rewards)
    [[ 0.   0. ]
     [-0.5  0.5]]
    """
    there = np.where(applies, totals, np.nan).astype(np.float64)
    if around is None:
        return Centred(np.where(applies, totals, 0.0), np.zeros(len(totals)))
    if around == "batch":
        flat = centred(there.reshape(1, -1), applies.reshape(1, -1))
        rewards = flat.rewards.reshape(totals.shape)
        return Centred(rewards, np.repeat(flat.centre, len(totals)))
    if around == "greedy":
        assert greedy is not None
        base = np.where(np.isnan(greedy), 0.0, greedy)
        off = _no_noise(there - base[:, None], there)
        return Centred(np.where(applies, off, 0.0), base)
    some = applies.any(axis=1)
    # Shifted first: the mean of three 0.1 is not 0.1.
    highest = np.where(some, np.max(there, axis=1, where=applies, initial=-np.inf), 0.0)
    shifted = _no_noise(there - highest[:, None], there)
    shifted = np.where(applies, shifted, 0.0)
    mean = shifted.sum(axis=1) / np.maximum(applies.sum(axis=1), 1)
    rewards = np.where(applies, shifted - mean[:, None], 0.0)
    return Centred(rewards, highest + mean)


def lost_difference(
    totals: np.ndarray, applies: np.ndarray, on_device: np.ndarray
) -> tuple[float, float] | None:
    """Two different rewards of a group that are one number on the device, if any.

    Different is what differs by a part of the group's spread that counts, or what
    people would call so.

    Args:
      totals: `[G, K]` float64.
      applies: `[G, K]` bool.
      on_device: `[G, K]` float32.
    """
    for group, there, given in zip(totals, applies, on_device, strict=True):
        order = np.argsort(group[there])
        values, same = group[there][order], np.diff(given[there][order]) == 0
        low, high = values[:-1], values[1:]
        counts = np.diff(values) > _APART * (values[-1:] - values[:1])
        counts &= np.diff(values) > NOISE * np.maximum(np.abs(low), np.abs(high))
        apart = ~np.isclose(low, high, rtol=_APART, atol=_APART)
        if (found := np.flatnonzero(same & (counts | apart))).size:
            return float(low[found[0]]), float(high[found[0]])
    return None


def warn_of_lost_difference(low: float, high: float, totals: np.ndarray) -> None:
    """Says that float32 does not tell two rewards apart."""
    _LOG.warning(
        "the rewards %.9g and %.9g are one number to the model: float32 keeps seven "
        "digits, and the rewards that are compared lie between %g and %g. Bring them "
        "nearer to each other; a veto of -100 is as clear as one of -1e20.",
        low,
        high,
        np.nanmin(totals),
        np.nanmax(totals),
    )


def refuse_too_large(
    scores: Scores, completions: Sequence[Completion], largest: float
) -> None:
    """Refuses rewards of which float32 cannot hold what is computed of them.

    Args:
      scores: With the totals.
      completions: Of these.
      largest: That it can hold.

    Raises:
      UserError: Naming the completion and its rewards.
    """
    too_large = np.flatnonzero(np.abs(scores.total) > largest)
    if len(too_large):
        i = int(too_large[0])
        parts = ", ".join(f"`{k}` gave {v[i]:g}" for k, v in scores.values.items())
        raise UserError(
            f"completion {i} of {len(completions)} has the reward {scores.total[i]:g} "
            f"({parts}), and the model learns in float32, in which this method can use "
            f"rewards up to {largest:g}. Return smaller numbers: a veto of -100 is as "
            f"clear. It is {completions[i]}"
        )


def _no_noise(off: np.ndarray, of: np.ndarray) -> np.ndarray:
    size = np.nanmax(np.abs(of), axis=1, initial=0.0, keepdims=True)
    return np.where(np.abs(off) <= NOISE * size, 0.0, off)
