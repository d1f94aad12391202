"""Decoding with a cache of keys and values."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxalign.models.attention import Visibility
from jaxalign.models.config import ModelConfig
from jaxalign.models.transformer import Transformer


class Cache(NamedTuple):
    """Keys and values of the tokens seen so far; slots are filled from the left.

    All rows write the same slots: a row that is shorter or has ended marks its
    tokens there as not valid, and nobody ever sees them.

    Attributes:
      keys: `[L, B, S, K, head_dim]`.
      values: `[L, B, S, K, head_dim]`.
      positions: `[B, S]` int32 position of the token in each slot, -1 where the slot
        is empty or its token is padding.
      cursor: int32 scalar: the next free slot.
    """

    keys: jax.Array
    values: jax.Array
    positions: jax.Array
    cursor: jax.Array


def init_cache(
    config: ModelConfig, batch: int, length: int, dtype: Any = jnp.float32
) -> Cache:
    """An empty cache.

    Args:
      config: The model's.
      batch: Rows.
      length: Slots of each row; a static bound on prompt and response together.
      dtype: Of the keys and values.

    Returns:
      What `apply_cached` takes and gives back.
    """
    shape = (config.num_layers, batch, length, config.num_kv_heads, config.head_dim)
    return Cache(
        jnp.zeros(shape, dtype),
        jnp.zeros(shape, dtype),
        jnp.full((batch, length), -1, jnp.int32),
        jnp.zeros((), jnp.int32),
    )


def apply_cached(
    model: Transformer,
    params,
    tokens: jax.Array,
    positions: jax.Array,
    cache: Cache,
    valid: jax.Array | None = None,
) -> tuple[jax.Array, Cache]:
    """Hidden states of the next T tokens, given those in the cache.

    The prompt is one call with T its padded width (on the left or on the right, as
    `valid` says), then each sampled token is a call with T = 1:

        cache = init_cache(config, B, T + max_new_tokens)
        hidden, cache = apply_cached(model, params, prompt, positions, cache, valid)
        hidden, cache = apply_cached(model, params, token, position, cache, running)

    Who calls must leave room: the cache has S slots, and tokens beyond them would
    overwrite the last ones (`cursor` is traced, so only T <= S is checked here).

    Args:
      model: The transformer; its `attention` and `remat` play no part here.
      params: Its parameters.
      tokens: `[B, T]` int32 ids; anything in padding.
      positions: `[B, T]` int32 position of each token in its own sequence: for a
        prompt padded on the left, 0 is its first real token.
      cache: What `init_cache` or the last call returned; may be donated.
      valid: `[B, T]` bool, False on padding; default all True.

    Returns:
      `[B, T, D]` hidden states after the final norm (finite and without meaning where
      not valid), and the new cache.
    """
    chex.assert_rank(tokens, 2)
    chex.assert_equal_shape([tokens, positions, *([] if valid is None else [valid])])
    chex.assert_type([tokens, positions], int)
    length = cache.positions.shape[1]
    if tokens.shape[1] > length:
        raise ValueError(
            f"{tokens.shape[1]} tokens do not fit a cache of {length} slots"
        )
    real = positions if valid is None else jnp.where(valid, positions, -1)
    slots = jax.lax.dynamic_update_slice(
        cache.positions, real, (jnp.zeros((), jnp.int32), cache.cursor)
    )
    applied: Any = model.apply(
        {"params": params},
        tokens,
        positions,
        Visibility(positions, slots, None, None),
        (cache.keys, cache.values),
        cache.cursor,
    )
    hidden, (keys, values) = applied
    return hidden, Cache(keys, values, slots, cache.cursor + tokens.shape[1])
