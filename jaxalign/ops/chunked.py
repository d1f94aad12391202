"""Token statistics straight from hidden states: the logits are never all there.

Both functions scan over chunks of positions; one chunk's logits live at a time. The
gradient with respect to the logits is written out once, below, since autodiff
would keep or scatter several arrays of their size.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxalign.ops.logps import TokenStats
from jaxalign.ops.reduce import sum_dtype


class _Head(NamedTuple):
    """The static half of an unembedding, and what to compute from it."""

    softcap: float | None
    vocab_size: int
    entropy: bool
    chunk_size: int


def chunked_stats(
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    *,
    temperature: float = 1.0,
    softcap: float | None = None,
    vocab_size: int | None = None,
    entropy: bool = False,
    chunk_size: int = 512,
) -> TokenStats:
    """`token_stats` of `hidden @ kernel.T`, without holding the logits.

    The backward pass computes each chunk's logits again. Gradients reach `hidden` and
    `kernel` through every float field of the result; those of `kernel` are summed in
    float32. Rows stay apart, so a batch sharded over its first axis stays sharded.

    Args:
      hidden: `[R, M, D]`, the hidden states that predict `targets`, any float type.
      kernel: `[V, D]`, the unembedding; used in the type of `hidden`.
      targets: `[R, M]`, token ids in `[0, vocab_size)`.
      temperature: The distribution is that of `logits / temperature`, > 0.
      softcap: If set, logits are `softcap * tanh(logits / softcap)`.
      vocab_size: Rows of `kernel` from here on are padding and never predicted.
      entropy: Whether to compute the entropy too.
      chunk_size: Positions whose logits are held at a time, over all R rows.

    Returns:
      `TokenStats` of `[R, M]` arrays, float32 (float64 for float64 `hidden`).

    >>> h, w = jnp.ones((1, 3, 2)), jnp.zeros((4, 2))
    >>> print(jnp.exp(chunked_stats(h, w, jnp.array([[0, 1, 2]]), chunk_size=2).logps))
    [[0.25 0.25 0.25]]
    """
    _check(hidden, kernel, targets)
    head = _Head(softcap, vocab_size or kernel.shape[0], entropy, chunk_size)
    tau = jnp.asarray(temperature, sum_dtype(hidden))
    return _stats(head, hidden, kernel, tau, targets)


def fused_token_loss(
    loss_fn: Callable[..., Any],
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    *per_token: jax.Array,
    temperature: float = 1.0,
    softcap: float | None = None,
    vocab_size: int | None = None,
    entropy: bool = False,
    chunk_size: int = 512,
) -> Any:
    """A loss that is a sum over tokens, with its gradient made on the way forward.

    The logits of each chunk are computed once, where `chunked_stats` followed by a
    loss computes them twice: three matrix products of the unembedding's size, not
    four. That is possible because the loss of a token depends on that token alone:
    the sums that `loss_fn` returns for the chunks simply add up.

    Only `loss.total` may be differentiated, and by a scalar, which is what
    `make_train_step` does. The other sums and `per_token` carry no gradient.

    Args:
      loss_fn: `(stats, *per_token) -> LossOutput` on `[R, m]` pieces.
      hidden: `[R, M, D]`, the hidden states that predict `targets`.
      kernel: `[V, D]`, the unembedding; used in the type of `hidden`.
      targets: `[R, M]`, token ids in `[0, vocab_size)`.
      *per_token: `[R, M]` arrays handed to `loss_fn` in pieces, the mask first. What
        fills up the last chunk is zero, hence masked.
      temperature: As in `chunked_stats`.
      softcap: As in `chunked_stats`.
      vocab_size: As in `chunked_stats`.
      entropy: As in `chunked_stats`.
      chunk_size: As in `chunked_stats`.

    Returns:
      The sum of what `loss_fn` returned for the chunks.
    """
    _check(hidden, kernel, targets)
    chex.assert_equal_shape([targets, *per_token])
    head = _Head(softcap, vocab_size or kernel.shape[0], entropy, chunk_size)
    tau = jnp.asarray(temperature, sum_dtype(hidden))
    return _loss(loss_fn, head, hidden, kernel, tau, (targets, *per_token))


def _check(hidden, kernel, targets):
    chex.assert_rank([hidden, kernel, targets], [3, 2, 2])
    chex.assert_type([hidden, kernel, targets], [float, float, int])
    chex.assert_equal_shape_prefix([hidden, targets], 2)
    chex.assert_equal(hidden.shape[-1], kernel.shape[-1])


def _chunks(head: _Head, *arrays):
    """`[R, M, ...]` each -> `[n, R, m, ...]`, the last chunk filled up with zeros."""
    rows, length = arrays[0].shape[:2]
    m = max(1, min(head.chunk_size // rows, -(-length // 2)))
    n = -(-length // m)

    def split(x):
        x = jnp.pad(x, [(0, 0), (0, n * m - length)] + [(0, 0)] * (x.ndim - 2))
        return x.reshape(rows, n, m, *x.shape[2:]).swapaxes(0, 1)

    return jax.tree.map(split, arrays)


def _join(chunks, length: int):
    """The inverse of `_chunks`."""

    def join(x):
        x = x.swapaxes(0, 1)
        return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]

    return jax.tree.map(join, chunks)


def _logits(head: _Head, hidden, kernel, tau):
    dtype = sum_dtype(hidden)
    z = jnp.einsum("rmd,vd->rmv", hidden, kernel, preferred_element_type=dtype)
    if head.softcap is not None:
        z = head.softcap * jnp.tanh(z / head.softcap)
    z = z / tau
    if head.vocab_size < kernel.shape[0]:
        z = jnp.where(_ids(z) < head.vocab_size, z, -1e30)
    return z


def _ids(z):
    return jax.lax.broadcasted_iota(jnp.int32, z.shape, z.ndim - 1)


def _mean_row(head: _Head, kernel):
    """The kernel averaged over the vocabulary, `[D]`: gives mean logits cheaply."""
    return jnp.mean(kernel[: head.vocab_size], axis=0, dtype=sum_dtype(kernel))


def _mean_logits(head: _Head, hidden, mean_row, tau, z):
    if head.softcap is None:
        return jnp.einsum("rmd,d->rm", hidden.astype(z.dtype), mean_row) / tau
    return jnp.sum(z, axis=-1, where=_ids(z) < head.vocab_size) / head.vocab_size


def _chunk_stats(head: _Head, hidden, kernel, mean_row, tau, targets):
    """One chunk's statistics, and what its backward pass needs besides."""
    z = _logits(head, hidden, kernel, tau)
    top = jnp.max(z, axis=-1)
    picked = jnp.take_along_axis(z, targets[..., None], axis=-1)[..., 0]
    weights = jnp.exp(z - top[..., None])
    partition = jnp.sum(weights, axis=-1)
    logz = top + jnp.log(partition)
    mean = _mean_logits(head, hidden, mean_row, tau, z)
    entropy = None
    if head.entropy:
        entropy = logz - jnp.sum(weights * z, axis=-1) / partition
    stats = TokenStats(picked - logz, logz, mean - logz, picked >= top, entropy)
    return stats, z


def _chunk_grads(head: _Head, ct: TokenStats, stats, z, hidden, kernel, tau, targets):
    """Cotangents of `hidden` and `kernel.T`, in float32, from those of the statistics.

    Asked for `[V, D]`, XLA on CPUs would first write out the transpose of `dz`.
    """
    log_p = z - stats.logz[..., None]
    slope = ct.logz - ct.logps - ct.mean_logps
    slope = slope[..., None]
    if ct.entropy is not None:
        slope = slope - ct.entropy[..., None] * (log_p + stats.entropy[..., None])
    ids = _ids(z)
    dz = jnp.exp(log_p) * slope + (ct.mean_logps / head.vocab_size)[..., None]
    dz = dz + jnp.where(ids == targets[..., None], ct.logps[..., None], 0.0)
    if head.softcap is not None:
        dz = dz * (1 - jnp.square(z * (tau / head.softcap)))
    if head.vocab_size < kernel.shape[0]:
        dz = jnp.where(ids < head.vocab_size, dz, 0.0)
    dtype = dz.dtype
    dz = (dz / tau).astype(hidden.dtype)
    d_hidden = jnp.einsum("rmv,vd->rmd", dz, kernel, preferred_element_type=dtype)
    d_kernel = jnp.einsum("rmd,rmv->dv", hidden, dz, preferred_element_type=dtype)
    return d_hidden, d_kernel


def _zero_kernel(hidden, kernel):
    """`[D, V]` zeros to sum gradients in, varying over mapped axes as `hidden` does."""
    # Built from both arrays: under shard_map that makes the type of a sum of theirs.
    dtype = sum_dtype(hidden)
    sample = jnp.where(False, hidden[0, 0, 0].astype(dtype), 0.0)
    return jnp.zeros(kernel.shape[::-1], dtype) + sample


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _stats(head: _Head, hidden, kernel, tau, targets):
    cast, mean_row = kernel.astype(hidden.dtype), _mean_row(head, kernel)

    def body(_, chunk):
        return None, _chunk_stats(head, chunk[0], cast, mean_row, tau, chunk[1])[0]

    stats = jax.lax.scan(body, None, _chunks(head, hidden, targets))[1]
    return _join(stats, targets.shape[1])


def _stats_forward(head, hidden, kernel, tau, targets):
    return _stats(head, hidden, kernel, tau, targets), (hidden, kernel, tau, targets)


def _stats_backward(head, residuals, ct):
    hidden, kernel, tau, targets = residuals
    cast, mean_row = kernel.astype(hidden.dtype), _mean_row(head, kernel)
    ct = ct._replace(correct=jnp.zeros_like(targets))

    def body(total, chunk):
        h, t, ct = chunk
        stats, z = _chunk_stats(head, h, cast, mean_row, tau, t)
        dh, dk = _chunk_grads(head, ct, stats, z, h, cast, tau, t)
        return total + dk, dh.astype(h.dtype)

    chunks = _chunks(head, hidden, targets, ct)
    dk, dh = jax.lax.scan(body, _zero_kernel(hidden, kernel), chunks)
    return _join(dh, targets.shape[1]), dk.T.astype(kernel.dtype), None, None


_stats.defvjp(_stats_forward, _stats_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _loss(loss_fn, head: _Head, hidden, kernel, tau, per_token):
    cast, mean_row = kernel.astype(hidden.dtype), _mean_row(head, kernel)

    def one(chunk):
        h, targets, *rest = chunk
        return loss_fn(_chunk_stats(head, h, cast, mean_row, tau, targets)[0], *rest)

    outs = jax.lax.map(one, _chunks(head, hidden, *per_token))
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), outs)


def _loss_forward(loss_fn, head, hidden, kernel, tau, per_token):
    cast, mean_row = kernel.astype(hidden.dtype), _mean_row(head, kernel)

    def body(total, chunk):
        h, targets, *rest = chunk
        stats, z = _chunk_stats(head, h, cast, mean_row, tau, targets)

        def loss_total(floats):
            out = loss_fn(stats._replace(**floats), *rest)
            return out.loss.total, out

        floats = stats._replace(correct=None)._asdict()
        floats = {name: x for name, x in floats.items() if x is not None}
        ct, out = jax.grad(loss_total, has_aux=True)(floats)
        ct = TokenStats(**{"correct": targets, "entropy": None, **ct})
        dh, dk = _chunk_grads(head, ct, stats, z, h, cast, tau, targets)
        return total + dk, (dh.astype(h.dtype), out)

    chunks = _chunks(head, hidden, *per_token)
    dk, (dh, outs) = jax.lax.scan(body, _zero_kernel(hidden, kernel), chunks)
    out = jax.tree.map(lambda x: jnp.sum(x, axis=0), outs)
    return out, (_join(dh, hidden.shape[1]), dk.T.astype(kernel.dtype))


def _loss_backward(loss_fn, head, residuals, ct):
    del loss_fn, head
    scale = ct.loss.total
    d_hidden, d_kernel = (x * scale.astype(x.dtype) for x in residuals)
    return d_hidden, d_kernel, None, None


_loss.defvjp(_loss_forward, _loss_backward)
