"""What all losses share: two small types, and checks of hyperparameters."""

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import jax

from jaxalign.ops import Mean

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


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


class TwoPass(NamedTuple):
    """An objective that must know something of the whole batch, such as KTO's z₀.

    A step measures first: over all parts of a batch and all devices, without gradient.
    The loss then splits like any other. What it must know of the batches before, such
    as BCO's shift, is its memory, which the training state holds: a step lets it take
    in what was measured before the loss reads it, and an evaluation reads it as it is.

    Attributes:
      measure: `(params, batch, key) -> ` a tree of `Mean`, which adds up over parts.
      loss: `(params, batch, key, measured, memory) -> LossOutput`, given those sums.
      memory: That of a new run, a tree of arrays.
      remember: `(memory, measured) -> memory`, of the same shapes.
    """

    measure: Callable[[Any, Any, jax.Array], Any]
    loss: Callable[[Any, Any, jax.Array, Any, Any], LossOutput]
    memory: Any = ()
    remember: Callable[[Any, Any], Any] = lambda memory, measured: memory


def check_range(
    name: str,
    value,
    low: float,
    high: float,
    *,
    open_low: bool = False,
    closed_high: bool = False,
):
    """Refuses a Python number outside of [low, high), or as the two switches say.

    A traced value is let through: it is not known while the program is made.

    >>> check_range("beta", 0.1, 0, float("inf"), open_low=True)
    """
    if not isinstance(value, int | float):
        return
    above = low < value if open_low else low <= value
    below = value <= high if closed_high else value < high
    if not (above and below):
        left, right = "(" if open_low else "[", "]" if closed_high else ")"
        raise ValueError(f"{name} must be in {left}{low}, {high}{right}, got {value}")


def check_positive(name: str, value):
    """Refuses a Python number that is not positive and finite.

    >>> check_positive("beta", 0.1)
    """
    check_range(name, value, 0, float("inf"), open_low=True)


def check_not_negative(name: str, value):
    """Refuses a Python number that is negative or not finite.

    >>> check_not_negative("alpha", 0)
    """
    check_range(name, value, 0, float("inf"))


def batch_coupled(loss_fn: F) -> F:
    """Marks a loss whose rows depend on each other: parts of a batch do not add up.

    >>> is_batch_coupled(batch_coupled(lambda policy, mask: None))
    True
    """
    setattr(loss_fn, "is_batch_coupled", True)  # noqa: B010
    return loss_fn


def is_batch_coupled(loss_fn: Callable[..., Any]) -> bool:
    """Whether a loss must see the whole batch at once.

    >>> is_batch_coupled(lambda policy, mask: None)
    False
    """
    return getattr(loss_fn, "is_batch_coupled", False)
