"""Masked attention: who sees whom, and two ways to compute it."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Far below any score, and finite: a row in which nothing is visible gets equal
# weights instead of NaN.
_HIDDEN = -1e30
_BRANCHES = 1 << 16


class Visibility(NamedTuple):
    """What decides whether query i sees key j, besides j <= i.

    Attributes:
      positions: `[R, T]` int32, for sliding windows.
      keys: `[R, T]` int32 code of segment and branch, -1 in padding; or None.
      queries: `[R, T]` int32 code of segment and branch; or None.
      prompts: `[R, T]` int32 code of the segment's shared prompt; or None.
    """

    positions: jax.Array
    keys: jax.Array | None
    queries: jax.Array | None
    prompts: jax.Array | None


def visibility(positions, segment_ids=None, branch_ids=None) -> Visibility:
    """The codes of packed rows, each argument `[R, T]` int32 or None.

    Query i sees key j iff j <= i, both are in the same segment, which is not 0
    (padding), and j is in the shared prompt (branch 0) or in the branch of i.
    """
    if segment_ids is None:
        if branch_ids is None:
            return Visibility(positions, None, None, None)
        segment_ids = jnp.ones_like(branch_ids)
    prompts = segment_ids * _BRANCHES
    codes = prompts if branch_ids is None else prompts + branch_ids
    keys = jnp.where(segment_ids > 0, codes, -1)
    return Visibility(positions, keys, codes, None if branch_ids is None else prompts)


def visible(rows: Visibility, window, start: int, stop: int) -> jax.Array:
    """Keys 0 .. stop that queries start .. stop see: `[R or 1, queries, keys]`."""
    causal = np.arange(stop)[None] <= np.arange(start, stop)[:, None]
    seen = jnp.asarray(causal[None])
    q, k = (slice(None), slice(start, stop), None), (slice(None), None, slice(stop))
    if rows.keys is not None and rows.queries is not None:
        same = rows.keys[k] == rows.queries[q]
        if rows.prompts is not None:
            same |= rows.keys[k] == rows.prompts[q]
        seen = seen & same
    if window is not None:
        seen = seen & (rows.positions[q] - rows.positions[k] < window)
    return seen


def attend(q, k, v, seen, *, scale: float, softcap: float | None) -> jax.Array:
    """softmax(scale * q k + mask) v, with the softmax in float32.

    Args:
      q: `[R, K, G, Q, head_dim]`: G query heads for each of K key heads.
      k: `[R, K, S, head_dim]`.
      v: `[R, K, S, head_dim]`.
      seen: `[R or 1, Q, S]` bool.
      scale: Scores are multiplied by this.
      softcap: Scores become c tanh(score / c), unless None.

    Returns:
      `[R, K, G, Q, head_dim]` of the type of `v`.
    """
    r, kv_heads, groups, length, d = q.shape
    # One axis of queries, so that the gradients contract over one axis: over two, they
    # are computed from transposed copies of the weights.
    q = q.reshape(r, kv_heads, groups * length, d)
    scores = jnp.einsum("rknd,rksd->rkns", q, k, preferred_element_type=jnp.float32)
    scores = scores * scale
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    hidden = jnp.where(seen, 0.0, _HIDDEN)[:, None, None]
    scores = scores.reshape(r, kv_heads, groups, length, -1) + hidden
    scores = scores.reshape(r, kv_heads, groups * length, -1)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    out = jnp.einsum("rkns,rksd->rknd", weights, v)
    return out.reshape(r, kv_heads, groups, length, d)


def naive_attention(q, k, v, rows: Visibility, window, **options) -> jax.Array:
    """All scores of a row at once; arguments as for `blocked_attention`."""
    return _in_blocks(q, k, v, rows, window, q.shape[1], **options)


def blocked_attention(q, k, v, rows: Visibility, window, **options) -> jax.Array:
    """Query blocks that read keys only up to their own end: half of the work.

    Scores are made again in the backward pass, so no `[T, T]` array is kept.

    Args:
      q: `[R, T, H, head_dim]`.
      k: `[R, T, K, head_dim]`, with K dividing H.
      v: `[R, T, K, head_dim]`.
      rows: Who sees whom.
      window: None, or how many positions a query sees back: int or int32 scalar.
      **options: `scale` and `softcap` of `attend`.

    Returns:
      `[R, T, H, head_dim]`.
    """
    return _in_blocks(q, k, v, rows, window, _block_size(q.shape[1]), **options)


def _block_size(length: int) -> int:
    """At most eight blocks, none under 128 queries."""
    return max(128, -(-length // 8))


def _in_blocks(q, k, v, rows, window, block, *, scale, softcap) -> jax.Array:
    r, t, h, d = q.shape
    groups = h // k.shape[2]
    q = q.reshape(r, t, k.shape[2], groups, d).transpose(0, 2, 3, 1, 4)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)

    @functools.partial(jax.checkpoint, static_argnums=(5, 6), prevent_cse=False)
    def one_block(q, k, v, rows, window, start, stop):
        seen = visible(rows, window, start, stop)
        return attend(q, k, v, seen, scale=scale, softcap=softcap)

    out = []
    for start in range(0, t, block):
        stop = min(start + block, t)
        out.append(
            one_block(
                q[:, :, :, start:stop], k[:, :, :stop], v[:, :, :stop],
                rows, window, start, stop,
            )
        )  # fmt: skip
    return jnp.concatenate(out, axis=3).transpose(0, 3, 1, 2, 4).reshape(r, t, h, d)


def cached_attention(q, k, v, cache, positions, window, *, scale, softcap):
    """Writes keys and values into the slots of their positions and reads all slots.

    Args:
      q: `[B, T, H, head_dim]`.
      k: `[B, T, K, head_dim]`.
      v: `[B, T, K, head_dim]`.
      cache: A pair of `[B, K, S, head_dim]`: keys and values of this layer.
      positions: `[B, T]` int32, consecutive in each row.
      window: None, or how many positions a query sees back.
      scale: As for `attend`.
      softcap: As for `attend`.

    Returns:
      `[B, T, H, head_dim]` and the new cache.
    """
    b, t, h, d = q.shape
    write = jax.vmap(
        lambda old, new, at: jax.lax.dynamic_update_slice_in_dim(old, new, at, axis=1)
    )
    keys, values = (
        write(old, new.transpose(0, 2, 1, 3).astype(old.dtype), positions[:, 0])
        for old, new in zip(cache, (k, v), strict=True)
    )
    slots = jnp.arange(keys.shape[2])[None, None]
    seen = slots <= positions[:, :, None]
    if window is not None:
        seen = seen & (positions[:, :, None] - slots < window)
    q = q.reshape(b, t, keys.shape[1], -1, d).transpose(0, 2, 3, 1, 4)
    seen_keys, seen_values = keys.astype(q.dtype), values.astype(q.dtype)
    out = attend(q, seen_keys, seen_values, seen, scale=scale, softcap=softcap)
    return out.transpose(0, 3, 1, 2, 4).reshape(b, t, h, d), (keys, values)
