"""One program of a run, before and after it is compiled."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax


class Planned(NamedTuple):
    """A program that a run would compile.

    Attributes:
      name: What people call it.
      lower: Gives the lowered program.
      flops: Of the whole machine in one call, by formula.
      reads: Bytes that a device must read at least, in one call.
      rows: Rows that a device computes at a time.
      tokens: Of each row.
      targets: Of each row.
      vocab: Entries of the vocabulary on a device; 0 where logits may be there.
      width: Of the hidden states.
      args: In words, what it was planned for.
      grows: Which flag makes it smaller.
      beside: Bytes of a device that other arrays of the run hold meanwhile.
    """

    name: str
    lower: Callable[[], Any]
    flops: float
    reads: float
    rows: int
    tokens: int
    targets: int
    vocab: int
    width: int
    args: str
    grows: tuple[str, ...]
    beside: int = 0


def bytes_on_device(tree: Any) -> int:
    """What a device holds of shapes with shardings."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
    )
