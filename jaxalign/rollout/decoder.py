"""What the sampler has to know of a model."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxalign.ops import Layout


def _as_they_are(params: Any) -> Any:
    return params


class Decoder(NamedTuple):
    """A model as the sampler takes it: functions, made once and used for every call.

    A new function is a new compilation, so do not make them anew for each call.

    Attributes:
      init_cache: `(rows, slots) -> cache`, empty: any pytree of `[rows, ..., slots, n]`
        arrays, in which the token at position s of a row has slot s.
      apply: `(params, tokens, starts, cache) -> (hidden, cache)` with int32 tokens
        `[B, T]` and `starts` `[B]`, hidden states `[B, T, D]`: the next T tokens of
        each row, from position `starts` on, which see all before them. Tokens that pad
        a row on the right are overwritten by its next call.
      head: `params -> (kernel [V, D], softcap or None, vocab_size)`; rows of the
        kernel from `vocab_size` on are never sampled. Without a kernel (None) the
        hidden states are the logits themselves.
      max_length: Tokens of the longest sequence the model can read.
      unused: Ranges `(first, end)` of ids that stand for no token, as where a model has
        more rows than its tokenizer has tokens; they are never sampled.
      prepare: `params -> params` as `apply` and `head` like them best; called once for
        many steps.
      layout: How rows, heads and the vocabulary are split over a mesh; None for one
        device.
    """

    init_cache: Callable[[int, int], Any]
    apply: Callable[..., tuple[jax.Array, Any]]
    head: Callable[[Any], tuple[jax.Array | None, float | None, int]]
    max_length: int
    prepare: Callable[[Any], Any] = _as_they_are
    unused: tuple[tuple[int, int], ...] = ()
    layout: Layout | None = None

    @property
    def row_parts(self) -> int:
        """Into how many parts the rows are split."""
        return 1 if self.layout is None else self.layout.parts("rows")

    def whole_rows(self, count: int) -> int:
        """At least so many rows, on each device as many as on the others."""
        return -(-count // self.row_parts) * self.row_parts
