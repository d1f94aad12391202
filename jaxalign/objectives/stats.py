"""From a model and a batch to the statistics of each target token."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.errors import explained
from jaxalign.objectives.batches import TokenBatch, Tokens
from jaxalign.ops import TokenStats, chunked_stats, token_stats


class Head(NamedTuple):
    """An unembedding, as `jaxalign.models.unembedding` gives it.

    Attributes:
      kernel: `[V, D]`.
      softcap: Bound on the logits, or None.
      vocab_size: Rows from here on are padding and never predicted.
    """

    kernel: jax.Array
    softcap: float | None
    vocab_size: int


class Backbone(NamedTuple):
    """A model in two parts, so that logits need never be whole.

    Attributes:
      hidden: `(params, TokenBatch) -> [R, T, D]`, the states that the head reads.
      head: `params -> Head`.
    """

    hidden: Callable[[Any, TokenBatch], jax.Array]
    head: Callable[[Any], Head]


def logits_stats(apply_fn: Callable[[Any, jax.Array], jax.Array], **options: Any):
    """Token statistics of any model that is a function giving whole logits.

    Args:
      apply_fn: `(params, [B, T] token ids) -> [B, T, V] logits`.
      **options: Those of `token_stats`.

    Returns:
      `(params, Tokens) -> TokenStats` of `[B, T]` arrays.
    """

    @explained()
    def stats(params, tokens: Tokens) -> TokenStats:
        return token_stats(apply_fn(params, tokens.inputs), tokens.targets, **options)

    return stats


def packed_stats(backbone: Backbone, **options: Any):
    """Token statistics of packed rows, in chunks.

    Args:
      backbone: The model.
      **options: `temperature`, `entropy` and `chunk_size` of `chunked_stats`.

    Returns:
      `(params, TokenBatch) -> TokenStats` of `[R, M]` arrays.
    """

    def stats(params, batch: TokenBatch) -> TokenStats:
        states, head = states_at_targets(backbone, params, batch), backbone.head(params)
        return stats_at(states, head, batch, **options)

    return stats


def stats_at(
    states: jax.Array, head: Head, batch: TokenBatch, **options: Any
) -> TokenStats:
    """`chunked_stats` of the batch's targets from `[R, M, D]` states before them."""
    return chunked_stats(
        states,
        head.kernel,
        batch.target_ids,
        mask=batch.target_mask,
        **limits(head),
        **options,
    )


def states_at_targets(backbone: Backbone, params, batch: TokenBatch) -> jax.Array:
    """The `[R, M, D]` hidden states that predict the batch's targets."""
    hidden = backbone.hidden(params, batch)
    return jnp.take_along_axis(hidden, batch.target_at[..., None], axis=1)


def limits(head: Head) -> dict[str, Any]:
    """The head's part of the keywords of `chunked_stats`."""
    return {"softcap": head.softcap, "vocab_size": head.vocab_size}
