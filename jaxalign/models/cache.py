"""Decoding with a cache of keys and values."""

from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxalign.models.cached_attention import LayerCache
from jaxalign.models.config import ModelConfig
from jaxalign.models.transformer import Transformer, unstack
from jaxalign.models.visibility import Visibility
from jaxalign.ops import constrain

Cache = tuple[LayerCache, ...] | LayerCache
"""Keys and values of each layer, or of all in one pair of arrays.

The slot of a token is its position in its row. So each row has its own end, and what
lies behind it needs no mark: a token sees no slot after its own, and by then all slots
before it are the row's own.
"""


def init_cache(
    config: ModelConfig,
    batch: int,
    length: int,
    dtype: Any = jnp.float32,
    *,
    stacked: bool = False,
) -> Cache:
    """An empty cache.

    Args:
      config: The model's.
      batch: Rows.
      length: Slots of each row; a static bound on prompt and response together.
      dtype: Of the keys and values.
      stacked: All layers in one array. A loop then goes over them, and compiling takes
        as long for many layers as for few; on CPUs, where a loop copies the parameters
        that it takes apart, sampling is slower.

    Returns:
      What `apply_cached` takes and gives back.
    """
    size = config.num_kv_heads, length, config.head_dim
    if stacked:
        shape = (batch, config.num_layers, *size)
        names = "rows", None, "heads", None, None
        pair = (constrain(jnp.zeros(shape, dtype), *names) for _ in range(2))
        return LayerCache(*pair)

    def one():
        return constrain(jnp.zeros((batch, *size), dtype), "rows", "heads", None, None)

    return tuple(LayerCache(one(), one()) for _ in range(config.num_layers))


def decoding_params(model: Transformer, params):
    """The parameters as decoding reads them fastest on CPUs, at the price of a copy.

    Each layer has arrays of its own, and kernels are transposed and of the type that is
    computed in. Make them once under `jit`, for as many steps as the parameters stay
    the same.

    Args:
      model: The transformer.
      params: Its parameters.

    Returns:
      What `apply_cached` takes in place of `params`.
    """

    def ready(tree):
        if not isinstance(tree, Mapping):
            return tree
        out = {name: ready(x) for name, x in tree.items() if name != "kernel"}
        if "kernel" in tree:
            kernel = tree["kernel"].astype(model.dtype)
            out["decoding_kernel"] = kernel.swapaxes(-1, -2)
        return out

    return {**params, "layers": unstack(ready(params["layers"]))}


def cast_params(model: Transformer, params):
    """The parameters with all matrices in the type that is computed in.

    For a stacked cache: a step then reads them as they lie, and no more than it must.

    Args:
      model: The transformer.
      params: Its parameters.

    Returns:
      What `apply_cached` takes in place of `params`; the same arrays where nothing is
      to be changed.
    """

    def ready(path, x):
        name = path[-1].key
        return x.astype(model.dtype) if name == "kernel" else x

    return jax.tree_util.tree_map_with_path(ready, params)


def apply_cached(
    model: Transformer, params, tokens: jax.Array, starts: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    """Hidden states of the next T tokens of each row, given those in the cache.

    The prompts are one call with T the width of the longest, then each sampled token is
    a call with T = 1:

        cache = init_cache(config, B, longest_prompt + max_new_tokens)
        hidden, cache = apply_cached(model, params, prompts, zeros, cache)
        hidden, cache = apply_cached(model, params, token, prompt_lengths, cache)

    A row with fewer tokens is padded on the right with anything: its next call, which
    starts where its real tokens end, overwrites the padding before anybody sees it.

    Who calls must leave room: a row has S slots, and tokens beyond them would overwrite
    the last ones (`starts` is traced, so only T <= S is checked here).

    Args:
      model: The transformer; its `attention` and `remat` play no part here.
      params: Its parameters, or `decoding_params` of them.
      tokens: `[B, T]` int32 ids.
      starts: `[B]` int32, the position of each row's first token here: the number of
        tokens before it.
      cache: What `init_cache` or the last call returned; may be donated.

    Returns:
      `[B, T, D]` hidden states after the final norm, and the new cache.
    """
    chex.assert_shape(starts, (tokens.shape[0],))
    chex.assert_type([tokens, starts], int)
    first = cache if isinstance(cache, LayerCache) else cache[0]
    length = first.keys.shape[-2]
    if tokens.shape[1] > length:
        raise ValueError(
            f"{tokens.shape[1]} tokens do not fit a cache of {length} slots"
        )
    positions = starts[:, None] + jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    rows = Visibility(positions, None, None, None)
    applied: Any = model.apply({"params": params}, tokens, positions, rows, cache)
    return applied
