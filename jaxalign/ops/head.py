"""What is done with one chunk of logits: statistics and gradients.

The gradient with respect to the logits is written out here, since autodiff would keep
or scatter several arrays of their size.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.ops.logps import TokenStats
from jaxalign.ops.reduce import sum_dtype


class Head(NamedTuple):
    """The static half of an unembedding, and what to compute from it."""

    softcap: float | None
    vocab_size: int
    entropy: bool
    chunk_size: int


def split_chunks(head: Head, *arrays):
    """`[R, M, ...]` each -> `[n, R, m, ...]`, the last chunk filled up with zeros."""
    rows, length = arrays[0].shape[:2]
    m = max(1, min(head.chunk_size // rows, -(-length // 2)))
    n = -(-length // m)

    def split(x):
        x = jnp.pad(x, [(0, 0), (0, n * m - length)] + [(0, 0)] * (x.ndim - 2))
        return x.reshape(rows, n, m, *x.shape[2:]).swapaxes(0, 1)

    return jax.tree.map(split, arrays)


def join_chunks(chunks, length: int):
    """The inverse of `split_chunks`."""

    def join(x):
        x = x.swapaxes(0, 1)
        return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]

    return jax.tree.map(join, chunks)


def _flat(tree):
    """`[R, m, ...]` -> `[R * m, ...]`: both products below then read the same `dz`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def chunk_logits(head: Head, hidden, kernel, tau):
    """The logits `[n, V]` of the states `[n, D]`, in a type to sum in."""
    dtype = sum_dtype(hidden)
    z = jnp.einsum("nd,vd->nv", hidden, kernel, preferred_element_type=dtype)
    if head.softcap is not None:
        z = head.softcap * jnp.tanh(z / head.softcap)
    if tau is not None:
        z = z / tau
    if head.vocab_size < kernel.shape[0]:
        z = jnp.where(_ids(z) < head.vocab_size, z, -1e30)
    return z


def _ids(z):
    return jax.lax.broadcasted_iota(jnp.int32, z.shape, z.ndim - 1)


def mean_row(head: Head, kernel):
    """The kernel averaged over the vocabulary, `[D]`: gives mean logits cheaply."""
    return jnp.mean(kernel[: head.vocab_size], axis=0, dtype=sum_dtype(kernel))


def _mean_logits(head: Head, hidden, mean_kernel, tau, z):
    if head.softcap is None:
        mean = jnp.einsum("nd,d->n", hidden.astype(z.dtype), mean_kernel)
        return mean if tau is None else mean / tau
    return jnp.sum(z, axis=-1, where=_ids(z) < head.vocab_size) / head.vocab_size


def chunk_stats(head: Head, hidden, kernel, mean_kernel, tau, targets):
    """One chunk's statistics `[R, m]`, and its logits `[R * m, V]`."""
    shape, hidden, targets = targets.shape, *_flat((hidden, targets))
    z = chunk_logits(head, hidden, kernel, tau)
    top = jnp.max(z, axis=-1)
    picked = jnp.take_along_axis(z, targets[:, None], axis=-1)[:, 0]
    weights = jnp.exp(z - top[:, None])
    partition = jnp.sum(weights, axis=-1)
    logz = top + jnp.log(partition)
    mean = _mean_logits(head, hidden, mean_kernel, tau, z)
    entropy = None
    if head.entropy:
        entropy = logz - jnp.sum(weights * z, axis=-1) / partition
    stats = TokenStats(picked - logz, logz, mean - logz, picked >= top, entropy)
    return jax.tree.map(lambda x: x.reshape(shape), stats), z


def chunk_grads(head: Head, ct: TokenStats, stats, z, hidden, kernel, tau, targets):
    """Cotangents of `hidden` and `kernel`, in float32, from those of the statistics."""
    shape = hidden.shape
    ct, stats, hidden, targets = _flat((ct, stats, hidden, targets))
    log_p = z - stats.logz[:, None]
    slope = (ct.logz - ct.logps - ct.mean_logps)[:, None]
    if ct.entropy is not None:
        slope = slope - ct.entropy[:, None] * (log_p + stats.entropy[:, None])
    ids = _ids(z)
    dz = jnp.exp(log_p) * slope + (ct.mean_logps / head.vocab_size)[:, None]
    dz = dz + jnp.where(ids == targets[:, None], ct.logps[:, None], 0.0)
    if head.softcap is not None:
        dz = dz * (1 - jnp.square((z if tau is None else z * tau) / head.softcap))
    if head.vocab_size < kernel.shape[0]:
        dz = jnp.where(ids < head.vocab_size, dz, 0.0)
    dtype = dz.dtype
    dz = (dz if tau is None else dz / tau).astype(hidden.dtype)
    d_hidden = jnp.einsum("nv,vd->nd", dz, kernel, preferred_element_type=dtype)
    # Not [D, V]: XLA on CPUs then packs a copy of `dz`, and takes half as long again.
    d_kernel = jnp.einsum("nv,nd->vd", dz, hidden, preferred_element_type=dtype)
    return d_hidden.reshape(shape), d_kernel


def zero_kernel(hidden, kernel):
    """`[V, D]` zeros to sum gradients in, varying over mapped axes as `hidden` does."""
    return _zeros(hidden, jax.ShapeDtypeStruct(kernel.shape, sum_dtype(hidden)))


def unless_empty(mask, compute, hidden, total=None):
    """`compute()`; or zeros, if no position of the chunk counts.

    With `total`, a sum carried from chunk to chunk, `compute` returns the new sum
    first, and an empty chunk leaves it as it is.
    """
    if mask is None:
        return compute()

    def empty():
        zeros = jax.tree.map(lambda s: _zeros(hidden, s), jax.eval_shape(compute))
        return zeros if total is None else (total, *zeros[1:])

    return jax.lax.cond(jnp.any(mask), compute, empty)


def _zeros(hidden, like):
    # Made from an element of `hidden`: under shard_map that gives the type of a result.
    sample = jnp.where(False, hidden[(0,) * hidden.ndim], 0.0)
    return jnp.broadcast_to(sample.astype(like.dtype), like.shape)
