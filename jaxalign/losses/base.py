"""The two small types that all losses share."""

import dataclasses
from typing import Generic, NamedTuple, TypeVar

import jax

from jaxalign.ops import Mean

T = TypeVar("T")


class Pair(NamedTuple, Generic[T]):
    """The same thing for the preferred and for the dispreferred response."""

    chosen: T
    rejected: T


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LossOutput:
    """What every loss returns: sums, which add up over batches and devices.

    Attributes:
      loss: The mean to minimise; `loss.value` is the scalar for `jax.grad`.
      metrics: Further means, by name; no gradient is meant to flow from them.
    """

    loss: Mean
    metrics: dict[str, Mean]


def check_range(name: str, value, low: float, high: float, *, open_low: bool = False):
    """Refuses a Python number outside of [low, high), or (low, high) if `open_low`.

    A traced value is let through: it is not known while the program is made.

    >>> check_range("beta", 0.1, 0, float("inf"), open_low=True)
    """
    if not isinstance(value, int | float):
        return
    if not (low < value if open_low else low <= value) or not value < high:
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} must be in {bracket}{low}, {high}), got {value}")
