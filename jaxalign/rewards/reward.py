"""A reward function with its name, its weight and what holds when it fails."""

import dataclasses
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion

Values: TypeAlias = Sequence[float | None] | Any
"""One number (or None: not applicable) for each completion; a list or an array."""

RewardFunction: TypeAlias = Callable[[list[Completion]], Values | Awaitable[Values]]
"""`(completions) -> Values`, synchronous or asynchronous."""

MODEL_TIME_LIMIT = 86_400.0
"""Seconds of a call that computes a model, on however many completions."""


@dataclasses.dataclass(frozen=True)
class Reward:
    """A reward function with what `score` must know about it.

    Attributes:
      name: As metrics and messages call it.
      function: See `RewardFunction`.
      weight: Factor in the total.
      fallback: Value for completions that the function fails on; None: an error.
      time_limit: Seconds that one call may take.
    """

    name: str
    function: RewardFunction
    weight: float = 1.0
    fallback: float | None = None
    time_limit: float = 60.0

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        for field in ("weight", "fallback", "time_limit"):
            value = getattr(self, field)
            if value is not None and not _is_finite(value):
                raise UserError(
                    f"reward `{self.name}`: {field} is {value!r}, not a finite number."
                )
        if not self.time_limit > 0:
            raise UserError(
                f"reward `{self.name}`: time_limit is {self.time_limit:g} seconds; it "
                "must be above 0."
            )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
