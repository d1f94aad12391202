"""A reward function with its name, its weight and what holds when it fails."""

import dataclasses
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion

Values: TypeAlias = Sequence[float | None] | Any
"""One number (or None: not applicable) for each completion; a list or an array."""

RewardFunction: TypeAlias = Callable[[list[Completion]], Values | Awaitable[Values]]
"""`(completions) -> Values`, synchronous or asynchronous."""


@dataclasses.dataclass(frozen=True)
class Reward:
    """A reward function with what `score` must know about it.

    Attributes:
      name: As metrics and messages call it.
      function: See `RewardFunction`.
      weight: Factor in the total.
      fallback: Value for completions that the function fails on; None: an error.
      time_limit: Seconds that one call may take. None: any number; a function of this
        process is then called in the caller's own thread, where signals work.
    """

    name: str
    function: RewardFunction
    weight: float = 1.0
    fallback: float | None = None
    time_limit: float | None = 60.0

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        if self.weight is None:
            raise UserError(f"reward `{self.name}`: weight is None, not a number.")
        for field in ("weight", "fallback", "time_limit"):
            value = getattr(self, field)
            if value is not None and not _is_finite(value):
                raise UserError(
                    f"reward `{self.name}`: {field} is {value!r}, not a finite number."
                )
        if self.time_limit is not None and not self.time_limit > 0:
            raise UserError(
                f"reward `{self.name}`: time_limit is {self.time_limit:g} seconds; it "
                "must be above 0."
            )


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine, also through `partial`."""
    inner = getattr(function, "func", function)
    method = getattr(inner, "__call__", None)  # noqa: B004 (the method, not whether)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(method)


def _is_finite(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
