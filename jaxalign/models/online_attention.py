"""Attention over long rows: blocks of queries and keys, the softmax kept up to date.

No array grows with the square of the length, on the way back neither: what is kept of a
row is its output and the logarithm of its normaliser (https://arxiv.org/abs/2205.14135).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.models.visibility import (
    HIDDEN,
    Visibility,
    complete,
    filled_up,
    seen_between,
)

BLOCK = 512
"""Queries and keys of a block."""


class _Options(NamedTuple):
    scale: float
    softcap: float | None


class _Row(NamedTuple):
    """What is kept for the way back: `out` `[R, K, N, d]` and `log_sum` `[R, K, N]`.

    N is G * T: G query heads share a key head.
    """

    out: jax.Array
    log_sum: jax.Array


def online_attention(q, k, v, rows: Visibility, window, *, scale, softcap):
    """Arguments and result as for `blocked_attention`; memory linear in T."""
    r, t, h, d = q.shape
    kv_heads = k.shape[2]
    block = min(BLOCK, t)
    padding = -t % block
    q, k, v = filled_up(q, padding), filled_up(k, padding), filled_up(v, padding)
    rows = complete(rows, padding)
    q = q.reshape(r, t + padding, kv_heads, h // kv_heads, d).transpose(0, 2, 3, 1, 4)
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    if window is None:
        # Wider than any row: no window.
        window = jnp.iinfo(jnp.int32).max
    window = jnp.asarray(window, jnp.int32)
    out: Any = _online(_Options(scale, softcap), block, q, k, v, rows, window)
    out = out.transpose(0, 3, 1, 2, 4).reshape(r, t + padding, h, d)
    return out[:, :t]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _online(options: _Options, block: int, q, k, v, rows, window):
    return _forward(options, block, q, k, v, rows, window).out


def _online_forward(options, block, q, k, v, rows, window):
    kept = _forward(options, block, q, k, v, rows, window)
    return kept.out, (q, k, v, rows, window, kept)


def _at(x: jax.Array, i, block: int, axis: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(x, i * block, block, axis)


def _scores(options: _Options, q, k):
    """Scores `[R, K, G, Q, S]` of blocks, and how they change with q k."""
    z = jnp.einsum("rkgqd,rksd->rkgqs", q, k, preferred_element_type=jnp.float32)
    z = z * options.scale
    if options.softcap is None:
        return z, None
    bent = jnp.tanh(z / options.softcap)
    return options.softcap * bent, 1 - jnp.square(bent)


def _any(seen, compute, otherwise):
    """`compute` unless no query of these blocks sees any key."""
    return jax.lax.cond(jnp.any(seen), compute, lambda x: x, otherwise)


def _forward(options, block, q, k, v, rows, window) -> _Row:
    count = q.shape[3] // block

    def one_block(_, i):
        queries = _at(q, i, block, 3)

        def add(j, carry):
            seen = seen_between(rows, window, i * block, j * block, block)

            def compute(carry):
                top, total, out = carry
                z = _scores(options, queries, _at(k, j, block, 2))[0]
                z = jnp.where(seen[:, None, None], z, HIDDEN)
                new = jnp.maximum(top, jnp.max(z, axis=-1))
                # In a row that has seen nothing yet, `new` is HIDDEN and so is z.
                weights = jnp.where(
                    seen[:, None, None], jnp.exp(z - new[..., None]), 0.0
                )
                factor = jnp.exp(top - new)
                values = _at(v, j, block, 2)
                more = jnp.einsum(
                    "rkgqs,rksd->rkgqd",
                    weights.astype(v.dtype),
                    values,
                    preferred_element_type=jnp.float32,
                )
                total = total * factor + jnp.sum(weights, axis=-1)
                return new, total, out * factor[..., None] + more

            return _any(seen, compute, carry)

        # Made from the queries, which gives them the type of what is added.
        nothing = queries[..., 0].astype(jnp.float32) * 0
        start = nothing + HIDDEN, nothing, queries.astype(jnp.float32) * 0
        # Keys up to the queries' own block: none of the later ones is seen.
        top, total, out = jax.lax.fori_loop(0, i + 1, add, start)
        # A query that sees no key divides 0 by this, and gets 0.
        some = jnp.maximum(total, 1e-30)
        out = (out / some[..., None]).astype(v.dtype)
        return None, (out, top + jnp.log(some))

    steps = jnp.arange(count, dtype=jnp.int32)
    out, log_sum = jax.lax.scan(one_block, None, steps)[1]
    return _Row(_joined(out), _joined(log_sum))


def _joined(blocks: jax.Array) -> jax.Array:
    """`[n, R, K, G, Q, ...]` to `[R, K, G, n * Q, ...]`."""
    x = jnp.moveaxis(blocks, 0, 3)
    return x.reshape(*x.shape[:3], -1, *x.shape[5:])


def _online_backward(options, block, residuals, ct):
    q, k, v, rows, window, kept = residuals
    count = q.shape[3] // block
    ct32 = ct.astype(jnp.float32)
    # Σ dO · O: the mean slope of a row, which softmax takes off in its gradient.
    inner = jnp.sum(ct32 * kept.out.astype(jnp.float32), axis=-1)

    def one_block(dq, j):
        keys, values = _at(k, j, block, 2), _at(v, j, block, 2)

        def add(i, carry):
            seen = seen_between(rows, window, i * block, j * block, block)

            def compute(carry):
                mine, dk, dv = carry
                queries, back = _at(q, i, block, 3), _at(ct, i, block, 3)
                z, bend = _scores(options, queries, keys)
                log_sum = _at(kept.log_sum, i, block, 3)[..., None]
                weights = jnp.exp(jnp.where(seen[:, None, None], z - log_sum, HIDDEN))
                dv = dv + jnp.einsum(
                    "rkgqs,rkgqd->rksd",
                    weights.astype(v.dtype),
                    back,
                    preferred_element_type=jnp.float32,
                )
                dz = jnp.einsum(
                    "rkgqd,rksd->rkgqs",
                    back,
                    values,
                    preferred_element_type=jnp.float32,
                )
                dz = weights * (dz - _at(inner, i, block, 3)[..., None])
                dz = (dz if bend is None else dz * bend) * options.scale
                dz = dz.astype(q.dtype)
                dk = dk + jnp.einsum(
                    "rkgqs,rkgqd->rksd",
                    dz,
                    queries,
                    preferred_element_type=jnp.float32,
                )
                more = jnp.einsum(
                    "rkgqs,rksd->rkgqd", dz, keys, preferred_element_type=jnp.float32
                )
                return mine + more, dk, dv

            dq, dk, dv = carry
            mine, dk, dv = _any(seen, compute, (_at(dq, i, block, 3), dk, dv))
            dq = jax.lax.dynamic_update_slice_in_dim(dq, mine, i * block, 3)
            return dq, dk, dv

        start = dq, keys.astype(jnp.float32) * 0, values.astype(jnp.float32) * 0
        # Queries from the keys' own block on: no earlier one sees them.
        dq, dk, dv = jax.lax.fori_loop(j, count, add, start)
        return dq, (dk.astype(k.dtype), dv.astype(v.dtype))

    steps = jnp.arange(count, dtype=jnp.int32)
    dq, (dk, dv) = jax.lax.scan(one_block, q.astype(jnp.float32) * 0, steps)
    dk, dv = (
        jnp.moveaxis(x, 0, 2).reshape(k.shape[0], k.shape[1], -1, k.shape[3])
        for x in (dk, dv)
    )
    return dq.astype(q.dtype), dk, dv, None, None


_online.defvjp(_online_forward, _online_backward)
