"""Masked attention over whole rows and over a cache."""

import functools
import math

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxalign.models.online_attention import online_attention
from jaxalign.models.visibility import HIDDEN, Visibility, visible
from jaxalign.ops import current_layout, current_platform

_BLOCK = 128
"""Queries of a block where all of its keys are looked at together."""


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
    hidden = jnp.where(seen, 0.0, HIDDEN)[:, None, None]
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

    Scores are made again in the backward pass, so no `[T, T]` array is kept. In rows
    longer than eight blocks keys are cut into blocks too: memory grows with T, not with
    its square. What the program is compiled for decides: for TPUs it is a kernel.

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
    if current_platform() == "tpu" and q.shape[1] >= _BLOCK:
        # Read here: it takes a while, and no other platform needs it.
        from jaxalign.models.tpu_attention import tpu_attention

        return tpu_attention(q, k, v, rows, window, **options)
    if current_platform() == "gpu" and _cudnn_can(q, rows, window, **options):
        return _cudnn(q, k, v, window, **options)
    if q.shape[1] > 8 * _BLOCK:
        return online_attention(q, k, v, rows, window, **options)
    return _in_blocks(q, k, v, rows, window, _BLOCK, **options)


def _cudnn_can(q, rows: Visibility, window, *, scale, softcap) -> bool:
    """Whether cuDNN's kernel knows these rows: it takes no codes and no bound."""
    del scale
    # What cuDNN's kernel takes: half precision, heads of up to 128 in steps of 8.
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    fixed = window is None or isinstance(window, int)
    plain = rows.keys is None and softcap is None
    return plain and half and fixed and q.shape[-1] <= 128 and not q.shape[-1] % 8


def _cudnn(q, k, v, window, *, scale, softcap) -> jax.Array:
    del softcap
    # Our windows count the query itself; cuDNN's only what lies to its left.
    back = None if window is None else (window - 1, 0)
    return jax.nn.dot_product_attention(
        q,
        k,
        v,
        scale=scale,
        is_causal=True,
        local_window_size=back,
        implementation="cudnn",
    )


def _in_blocks(q, k, v, rows, window, block, *, scale, softcap) -> jax.Array:
    r, t, h, d = q.shape
    groups = h // k.shape[2]
    q = q.reshape(r, t, k.shape[2], groups, d).transpose(0, 2, 3, 1, 4)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)

    # In the scan over layers nothing can be merged, so barriers would only cost.
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


def on_each_device(attend, q, k, v, rows: Visibility, window) -> jax.Array:
    """Each device attends in its own rows and heads: nothing travels inside.

    Where positions are split, devices that share rows exchange them for heads before,
    and back behind (https://arxiv.org/abs/2309.14509).

    Args:
      attend: `(q, k, v, rows, window) -> [R, T, H, head_dim]`.
      q: As for `blocked_attention`, like the rest.
      k: Key heads that the devices of a row cannot share out are repeated.
      v: The same.
      rows: Who sees whom.
      window: Traced, or fixed as it is.
    """
    layout = current_layout()
    if layout is None:
        return attend(q, k, v, rows, window)
    sharers = math.prod(
        layout.mesh.shape[a] for a in layout.axes("row_heads", q.shape[2])
    )
    if k.shape[2] % sharers and not sharers % k.shape[2]:
        k, v = (jnp.repeat(x, sharers // k.shape[2], axis=2) for x in (k, v))
    per_row = P(layout.axes("rows", q.shape[0]) or None)
    heads = P(*per_row, None, layout.axes("row_heads", k.shape[2]) or None)
    if window is None or isinstance(window, int):
        attend = functools.partial(_with_window, attend, window)
        window = None
    # Without types of variation, which kernels do not give.
    mapped = jax.shard_map(
        attend,
        mesh=layout.mesh,
        in_specs=(heads, heads, heads, per_row, P()),
        out_specs=heads,
        check_vma=False,
    )
    return mapped(q, k, v, rows, window)


def _with_window(attend, fixed, q, k, v, rows, window):
    del window
    return attend(q, k, v, rows, fixed)
