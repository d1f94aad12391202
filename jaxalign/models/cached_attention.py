"""Attention of new tokens to those in a cache, and the two kinds of cache."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxalign.models.attention import attend
from jaxalign.models.visibility import filled_up
from jaxalign.ops import current_layout

_QUERIES = 256
"""Queries of a prompt that look at all slots together."""


class LayerCache(NamedTuple):
    """Keys and values of one layer, or of all of them and which one is meant.

    Attributes:
      keys: `[B, K, S, head_dim]`; or `[B, L, K, S, head_dim]`.
      values: The same.
      layer: None; or an int32 scalar.
    """

    keys: jax.Array
    values: jax.Array
    layer: jax.Array | None = None


_AnyCache: Any = LayerCache


def cached_attention(
    q, k, v, cache: LayerCache, positions, window, *, scale, softcap
) -> tuple[jax.Array, LayerCache]:
    """Writes keys and values into the slots of their positions and reads all slots.

    Each device has rows and heads of its own: nothing travels.

    Args:
      q: `[B, T, H, head_dim]`.
      k: `[B, T, K, head_dim]`.
      v: `[B, T, K, head_dim]`.
      cache: What this layer has seen.
      positions: `[B, T]` int32, consecutive in each row.
      window: None, or how many positions a query sees back.
      scale: As for `attend`.
      softcap: As for `attend`.

    Returns:
      `[B, T, H, head_dim]` and the new cache.
    """
    run = functools.partial(_on_one_device, scale=scale, softcap=softcap)
    # A fixed window is a constant of the program, a traced one an argument.
    if window is None or isinstance(window, int):
        run, window = functools.partial(run, fixed=window), None
    layout = current_layout()
    if layout is not None:
        rows = layout.axes("rows", q.shape[0]) or None
        heads = layout.axes("heads", k.shape[2]) or None
        new = P(rows, None, heads)
        old = P(rows, heads) if cache.layer is None else P(rows, None, heads)
        places: Any = _AnyCache(old, old, P())
        run = jax.shard_map(
            run,
            mesh=layout.mesh,
            in_specs=(new, new, new, places, P(rows), P()),
            out_specs=(new, places),
            check_vma=False,
        )
    return run(q, k, v, cache, positions, window)


def _on_one_device(q, k, v, cache, positions, window, fixed=None, **options):
    window = fixed if window is None else window
    keys, values = (
        _written(old, new.transpose(0, 2, 1, 3).astype(old.dtype), cache.layer, at)
        for old, new, at in zip(cache[:2], (k, v), (positions[:, 0],) * 2, strict=True)
    )
    cache = LayerCache(keys, values, cache.layer)
    if cache.layer is not None:
        keys, values = (
            jax.lax.dynamic_index_in_dim(x, cache.layer, 1, keepdims=False)
            for x in (keys, values)
        )
    keys, values = keys.astype(q.dtype), values.astype(q.dtype)
    look = functools.partial(_look, keys, values, window, **options)
    return _by_blocks(look, q, positions), cache


def _by_blocks(look, q, positions) -> jax.Array:
    """`look(q, positions)`, a block of a long prompt's queries after the other.

    The scores of a prompt then grow with its length, and not with the square of that.
    """
    t = q.shape[1]
    if t <= _QUERIES:
        return look((q, positions))

    def split(x):
        x = filled_up(x, -t % _QUERIES)
        return x.reshape(x.shape[0], -1, _QUERIES, *x.shape[2:]).swapaxes(0, 1)

    with jax.named_scope("queries"):
        out = jax.lax.map(look, (split(q), split(positions))).swapaxes(0, 1)
    return out.reshape(q.shape[0], -1, *q.shape[2:])[:, :t]


def _look(keys, values, window, queries, **options) -> jax.Array:
    q, positions = queries
    b, t, h, d = q.shape
    slots = jnp.arange(keys.shape[2])[None, None]
    # Behind a query there is padding, or what an older row has left.
    seen = slots <= positions[:, :, None]
    if window is not None:
        seen = seen & (positions[:, :, None] - slots < window)
    q = q.reshape(b, t, keys.shape[1], -1, d).transpose(0, 2, 3, 1, 4)
    out = attend(q, keys, values, seen, **options)
    return out.transpose(0, 3, 1, 2, 4).reshape(b, t, h, d)


def _written(old, new, layer, starts) -> jax.Array:
    """`old` with `[B, K, T, head_dim]` in the slots from each row's start on."""
    if layer is None:
        write = jax.vmap(
            lambda old, new, at: jax.lax.dynamic_update_slice_in_dim(
                old, new, at, axis=1
            )
        )
        return write(old, new, starts)

    def one_row(old, new, at):
        zero = jnp.zeros((), jnp.int32)
        return jax.lax.dynamic_update_slice(old, new[None], (layer, zero, at, zero))

    return jax.vmap(one_row)(old, new, starts)
