"""A decoder without a cache, for models that are one function of whole sequences."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.rollout.decoder import Decoder

_ANY_LENGTH = 1 << 30


def recomputing_decoder(
    model: Callable[[Any, jax.Array], jax.Array],
    *,
    head: Callable[[Any], tuple[Any, Any, int]] | None = None,
    max_length: int = _ANY_LENGTH,
) -> Decoder:
    """Any causal model as the sampler takes it; every token costs a whole pass.

    The cache holds the tokens themselves, a slot for each, and what stands behind a
    row's last token is arbitrary: a model in which a position sees later ones samples
    nonsense.

    Args:
      model: `(params, [N, T] ids) -> [N, T, V]` logits; with a head `[N, T, D]` hidden
        states.
      head: `params -> (kernel [V, D], softcap or None, vocab_size)`; None: the model
        gives logits.
      max_length: Tokens of the longest sequence that the model can read.

    Returns:
      A decoder; make it once.
    """

    def init_cache(rows: int, slots: int) -> jax.Array:
        return jnp.zeros((rows, slots, 1), jnp.int32)

    def apply(params, tokens, starts, cache):
        count = jnp.arange(tokens.shape[1], dtype=starts.dtype)[None]
        write = jax.vmap(jax.lax.dynamic_update_slice_in_dim, in_axes=(0, 0, 0, None))
        cache = write(cache, tokens[..., None].astype(cache.dtype), starts, 0)
        states = model(params, cache[..., 0])
        at = (starts[:, None] + count)[..., None]
        return jnp.take_along_axis(states, at, axis=1), cache

    def whole_head(params):
        one = jax.ShapeDtypeStruct((1, 1), jnp.int32)
        return None, None, jax.eval_shape(model, params, one).shape[-1]

    return Decoder(
        init_cache=init_cache,
        apply=apply,
        head=head or whole_head,
        max_length=max_length,
    )
