"""What all losses share: the types of what they take and return."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.errors import UserError
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
      loss: The mean to minimise, or a `SumOfMeans`; `loss.value` is the scalar for
        `jax.grad`.
      metrics: Further means, by name; no gradient is meant to flow from them.
    """

    loss: Mean
    metrics: dict[str, Mean]


LossFn = Callable[[Any, Any, jax.Array], LossOutput]
"""`(params, batch, key) -> LossOutput`: an objective that needs its batch alone."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """What a step minimises: a loss, what it measures first, and what it carries along.

    Most objectives are a plain function `(params, batch, key) -> LossOutput`. Some must
    know something of the whole batch, such as KTO's reference point: a step measures
    that first, over all parts of a batch and all devices, without gradient, and the
    loss then splits like any other. What must be known of the batches before, such as
    BCO's shift, is the carry, which the training state holds: a step lets it take in
    what was measured before the loss reads it, and an evaluation reads it as it is.

    Attributes:
      loss: `(params, batch, key, measured, carry) -> LossOutput`.
      measure: `(params, batch, key) -> ` a tree of `Mean`, which adds up over parts;
        None: nothing is measured, and `measured` is `()`.
      carry: That of a new run, a tree of arrays.
      update_carry: `(carry, measured) -> carry`, of the same shapes.
      reads: Names of what it reads, as `bind` knows them: `ref`, `kl`, `margin`, ...
      batch_coupled: Whether it must see the whole batch at once: a step then refuses to
        compute it in parts.
    """

    loss: Callable[[Any, Any, jax.Array, Any, Any], LossOutput]
    measure: LossFn | Callable[[Any, Any, jax.Array], Any] | None = None
    carry: Any = ()
    update_carry: Callable[[Any, Any], Any] = lambda carry, measured: carry
    reads: frozenset[str] = frozenset()
    batch_coupled: bool = False

    @classmethod
    def of(cls, objective: "Objective | LossFn") -> "Objective":
        """The same objective, of whichever of the two kinds it is."""
        if isinstance(objective, Objective):
            return objective

        def loss(params, batch, key, measured, carry):
            del measured, carry
            return objective(params, batch, key)

        return cls(loss, batch_coupled=is_batch_coupled(objective))

    def __call__(self, params, batch, key) -> LossOutput:
        """The loss of one batch that is whole, with the carry of a new run."""
        measured = () if self.measure is None else self.measure(params, batch, key)
        measured = jax.lax.stop_gradient(measured)
        carry = self.update_carry(self.carry, measured)
        return self.loss(params, batch, key, measured, carry)


def as_pair(name: str, x: Any) -> Pair[Any]:
    """What was given for a `Pair`, as one.

    An array is refused: its first axis may be anything, sides or rows or the tokens of
    one response.

    Args:
      name: Of the argument.
      x: A `Pair`, or another tuple or list of two.

    Raises:
      UserError: It is nothing of the kind.

    >>> as_pair("policy", jnp.zeros((2, 7)))
    Traceback (most recent call last):
    ...
    jaxalign.errors.UserError: `policy` is an array of shape (2, 7); expected
    Pair(chosen, rejected), an array for each side.
    """
    if isinstance(x, tuple | list) and len(x) == 2:
        return Pair(*x)
    shape = getattr(x, "shape", None)
    found = f"{type(x)}" if shape is None else f"an array of shape {shape}"
    raise UserError(
        f"`{name}` is {found}; expected Pair(chosen, rejected), an array for each side."
    )


def batch_coupled(loss_fn: F) -> F:
    """Marks a loss whose rows depend on each other: parts of a batch do not add up.

    >>> is_batch_coupled(batch_coupled(lambda policy, mask: None))
    True
    """
    setattr(loss_fn, "is_batch_coupled", True)  # noqa: B010
    return loss_fn


def is_batch_coupled(loss_fn: Callable[..., Any]) -> bool:
    """Whether a loss must see the whole batch at once, whatever keywords it is given.

    >>> is_batch_coupled(lambda policy, mask: None)
    False
    """
    while isinstance(loss_fn, functools.partial):
        loss_fn = loss_fn.func
    return getattr(loss_fn, "is_batch_coupled", False)


def is_zero(weight: float | jax.Array) -> bool:
    """Whether a weight is the number 0, and no array that may be another.

    What it weighs is then left out: 0 times what is infinite is NaN.

    >>> is_zero(0.0), is_zero(jnp.zeros(())), is_zero(0.1)
    (True, False, False)
    """
    return isinstance(weight, int | float) and weight == 0
