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
