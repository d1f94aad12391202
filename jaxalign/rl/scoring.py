"""What completions are worth: the sum of rewards, and ends that miss."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxalign.rewards import Completion, Reward, Scores, score
from jaxalign.rewards.reward import RewardFunction


@dataclasses.dataclass(frozen=True)
class Scoring:
    """`completions -> Scores`.

    The total of a completion that was cut off is replaced or lowered; in float64, like
    all that is done with rewards before they are centred.

    Attributes:
      rewards: See `rewards.score`.
      missing_score: Total of a completion that was cut off, or None.
      missing_penalty: What such a one loses.
    """

    rewards: Sequence[Reward | RewardFunction]
    missing_score: float | None = None
    missing_penalty: float = 0.0

    def __call__(self, completions: list[Completion]) -> Scores:
        """Scores completions."""
        return self.with_ends(score(self.rewards, completions), completions)

    def with_ends(self, scores: Scores, completions: Sequence[Completion]) -> Scores:
        """Scores, where it counts whether a completion has an end."""
        total, stopped = scores.total, np.array([x.stopped for x in completions])
        if self.missing_score is not None:
            total = np.where(stopped, total, self.missing_score)
        elif self.missing_penalty:
            total = np.where(stopped, total, total - self.missing_penalty)
        # A score for a missing end is none for a completion without any reward.
        total = np.where(scores.applies, total, np.nan)
        return dataclasses.replace(scores, total=total)


def as_scoring(
    reward: Scoring | Reward | RewardFunction | Sequence[Reward | RewardFunction],
) -> Scoring:
    """A function, a `Reward` or several of them as something that scores."""
    if isinstance(reward, Scoring):
        return reward
    several = isinstance(reward, Sequence)
    return Scoring(tuple(reward) if several else (reward,))
