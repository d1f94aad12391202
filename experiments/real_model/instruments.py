"""What RL of a chain is rewarded by, and what its claim is read from.

A policy that has found a hole in its reward looks good by that reward. So a chain says
both as data, and a test compares them with the commands that it runs.
"""

from typing import NamedTuple

HUMAN_LABELS = ("abstention", "brier", "confidence_target", "log_score")
"""Rewards that compare with what a person wrote: on held-out rows they are the truth,
and may be both; a learned reward may not."""


class Instruments(NamedTuple):
    """Names of rewards, as `--reward` has them, and of other instruments.

    Attributes:
      rewards: RL is trained on them.
      measures: The claim is read from them, on held-out rows.
    """

    rewards: tuple[str, ...]
    measures: tuple[str, ...]
