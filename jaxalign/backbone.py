"""A model in two parts, as packed batches and chunks of logits need it.

`jaxalign.models.backbone_of` makes one of our transformer; whoever has another model
gives its two functions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxalign.batch import Tokens


class Head(NamedTuple):
    """An unembedding, as `jaxalign.models.unembedding` gives it.

    Attributes:
      kernel: `[V, D]`.
      softcap: Bound on the logits, or None.
      vocab_size: Rows from here on are padding and never predicted.
    """

    kernel: Any
    softcap: float | None
    vocab_size: int


class Backbone(NamedTuple):
    """A model in two parts, so that logits need never be whole.

    Attributes:
      hidden: `(params, Tokens) -> [N, T, D]`, the states that the head reads; the
        tokens' `inputs`, `positions`, `segment_ids` and `branch_ids` are `[N, T]`. A
        model that reads `inputs` alone suits unpacked batches only.
      head: `params -> Head`.
    """

    hidden: Callable[[Any, Tokens], Any]
    head: Callable[[Any], Head]
