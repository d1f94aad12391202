"""From a model and token sequences to the statistics of each target."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.backbone import Backbone, Head
from jaxalign.batch import Tokens
from jaxalign.errors import UserError
from jaxalign.ops import TokenStats, chunked_stats, constrain, token_stats

LogitsFn = Callable[[Any, jax.Array], jax.Array]
"""`(params, [N, T] token ids) -> [N, T, V] logits`."""
Model = Backbone | LogitsFn
"""What objectives take for a model: hidden states and an unembedding, or logits."""


def token_statistics(
    model: Model,
    *,
    chunk_size: int = 512,
    temperature: float = 1.0,
    entropy: bool = False,
) -> Callable[[Any, Tokens], TokenStats]:
    """Statistics of each target under a model.

    Args:
      model: A `Backbone`, for packed and unpacked batches; or a function that gives
        logits, for unpacked ones.
      chunk_size: Positions whose logits a `Backbone` holds at a time.
      temperature: The distribution is that of `logits / temperature`, > 0.
      entropy: Whether to compute the entropy too.

    Returns:
      `(params, Tokens) -> TokenStats` of `[R, M]` arrays.
    """
    options: dict[str, Any] = {"temperature": temperature, "entropy": entropy}
    if isinstance(model, Backbone):

        def from_states(params, tokens: Tokens) -> TokenStats:
            states = states_at_targets(model, params, tokens)
            head = model.head(params)
            return stats_at(states, head, tokens, chunk_size=chunk_size, **options)

        return from_states

    def from_logits(params, tokens: Tokens) -> TokenStats:
        if tokens.inputs.ndim != 3:
            raise ValueError(
                "a function that gives logits reads whole sequences, and this batch is "
                f"packed: its inputs are {tokens.inputs.shape}, [R, T]. Make batches "
                "with `make_batch`, or give a `Backbone` whose hidden states keep to "
                "segments and branches."
            )
        # An unpacked batch has a slot for every position, in their order.
        inputs = as_sequences(tokens).inputs
        logits = _of_each_token(model(params, inputs), inputs, "logits [N, T, V]")
        logits = logits.reshape(*tokens.target_ids.shape, -1)
        return token_stats(logits, tokens.target_ids, **options)

    return from_logits


def as_sequences(tokens: Tokens) -> Tokens:
    """The same with everything that the model reads as `[N, T]`, a sequence per row."""
    read = (x.reshape(-1, x.shape[-1]) for x in tokens[:4])
    return Tokens._make([*read, *tokens[4:]])


def states_at_targets(model: Backbone, params, tokens: Tokens) -> jax.Array:
    """The `[R, M, D]` hidden states that predict the targets."""
    read = as_sequences(tokens)
    hidden = model.hidden(params, read)
    hidden = _of_each_token(hidden, read.inputs, "hidden states [N, T, D]")
    hidden = hidden.reshape(len(tokens.target_at), -1, hidden.shape[-1])
    # Targets lie anywhere in their row, so a device must have the whole of it.
    hidden = constrain(hidden, "rows", None, "width")
    return jnp.take_along_axis(hidden, tokens.target_at[..., None], axis=1)


def _of_each_token(x: Any, inputs: jax.Array, wanted: str) -> jax.Array:
    """Refuses what another layout would make numbers of other tokens of."""
    shape = getattr(x, "shape", None)
    if shape is None or len(shape) != 3 or tuple(shape[:2]) != inputs.shape:
        found = f"a {type(x).__name__}" if shape is None else f"shape {tuple(shape)}"
        raise UserError(
            f"the model gave {found} for token ids of shape {inputs.shape}; expected "
            f"{wanted}, one row for each token that it reads. Wrap it in a function "
            "that gives these alone, in this order."
        )
    return x


def stats_at(
    states: jax.Array, head: Head, tokens: Tokens, **options: Any
) -> TokenStats:
    """`chunked_stats` of the targets from `[R, M, D]` states before them."""
    return chunked_stats(
        states,
        head.kernel,
        tokens.target_ids,
        mask=tokens.target_mask,
        **limits(head),
        **options,
    )


def limits(head: Head) -> dict[str, Any]:
    """The head's part of the keywords of `chunked_stats`."""
    return {"softcap": head.softcap, "vocab_size": head.vocab_size}
