"""What is done with one chunk of logits: statistics and gradients.

The gradient with respect to the logits is written out here, since autodiff would keep
or scatter several arrays of their size.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.ops.logps import TokenStats
from jaxalign.ops.per_device import (
    Split,
    first_id,
    gathered,
    over_vocabulary,
    top_over_vocabulary,
)
from jaxalign.ops.reduce import sum_dtype


class LocalHead(NamedTuple):
    """The static half of an unembedding, and what to compute from it."""

    softcap: float | None
    vocab_size: int
    entropy: bool
    chunk_size: int
    split: Split | None = None

    @property
    def shared(self) -> bool:
        """Whether several devices have the tokens of a row together."""
        return self.split is not None and bool(self.split.vocabulary)


class Unembedder(NamedTuple):
    """The kernel as a device reads it in all chunks.

    Attributes:
      kernel: `[V, D]` of the type of the states: this device's rows, all columns.
      mean: `[D]`, their part of the mean over the vocabulary.
      tau: The divisor of the logits, or None.
      first: The token id of the first row.
    """

    kernel: jax.Array
    mean: jax.Array
    tau: jax.Array | None
    first: jax.Array | int


class Parts(NamedTuple):
    """What one device's tokens contribute to `TokenStats`, each `[...]`.

    Attributes:
      top: The largest logit.
      partition: The sum of exp(logit - top).
      picked: The target's logit; 0 where another device has it.
      mean: The sum of logits over the size of the whole vocabulary.
      spread: The sum of exp(logit - top) logit; None unless asked for.
    """

    top: jax.Array
    partition: jax.Array
    picked: jax.Array
    mean: jax.Array
    spread: jax.Array | None


def unembedder(head: LocalHead, hidden, kernel, tau) -> Unembedder:
    """The kernel, gathered once for all chunks."""
    mean = gathered(head.split, mean_row(head, kernel))
    cast = gathered(head.split, kernel.astype(hidden.dtype))
    return Unembedder(cast, mean, tau, first_id(head.split, kernel))


def split_chunks(head: LocalHead, *arrays):
    """`[R, M, ...]` each -> `[n, R, m, ...]`, the last chunk filled up with zeros."""
    rows, length = arrays[0].shape[:2]
    # Two chunks at least, so that never all logits are there.
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


def chunk_logits(head: LocalHead, hidden, kernel, tau, first: jax.Array | int = 0):
    """The logits `[n, V]` of the states `[n, D]`, in a type to sum in."""
    dtype = sum_dtype(hidden)
    z = jnp.einsum("nd,vd->nv", hidden, kernel, preferred_element_type=dtype)
    if head.softcap is not None:
        z = head.softcap * jnp.tanh(z / head.softcap)
    if tau is not None:
        z = z / tau
    if _padded(head, kernel):
        # Finite, because -inf less -inf is NaN on the way back.
        z = jnp.where(_ids(z, first) < head.vocab_size, z, -1e30)
    return z


def _ids(z, first: jax.Array | int):
    return first + jax.lax.broadcasted_iota(jnp.int32, z.shape, z.ndim - 1)


def _padded(head: LocalHead, kernel) -> bool:
    """Whether some rows of some device's part of the kernel are no tokens."""
    parts = 1 if head.split is None else head.split.sharers
    return head.vocab_size < kernel.shape[0] * parts


def mean_row(head: LocalHead, kernel):
    """The kernel averaged over the vocabulary, `[D]`: gives mean logits cheaply."""
    if not head.shared:
        return jnp.mean(kernel[: head.vocab_size], axis=0, dtype=sum_dtype(kernel))
    ids = first_id(head.split, kernel) + jnp.arange(kernel.shape[0], dtype=jnp.int32)
    counted = (ids < head.vocab_size)[:, None]
    total = jnp.sum(kernel, axis=0, where=counted, dtype=sum_dtype(kernel))
    return total / head.vocab_size


def _mean_logits(head: LocalHead, hidden, w: Unembedder, z):
    if head.softcap is None:
        mean = jnp.einsum("nd,d->n", hidden.astype(z.dtype), w.mean)
        return mean if w.tau is None else mean / w.tau
    counted = _ids(z, w.first) < head.vocab_size
    return jnp.sum(z, axis=-1, where=counted) / head.vocab_size


def _picked(head: LocalHead, z, w: Unembedder, targets):
    if not head.shared:
        return jnp.take_along_axis(z, targets[:, None], axis=-1)[:, 0]
    at = targets - w.first
    here = (at >= 0) & (at < z.shape[1])
    at = jnp.clip(at, 0, z.shape[1] - 1)
    return jnp.where(here, jnp.take_along_axis(z, at[:, None], axis=-1)[:, 0], 0.0)


def chunk_parts(
    head: LocalHead, hidden, w: Unembedder, targets
) -> tuple[Parts, jax.Array]:
    """One chunk's parts `[R, m]` from this device's tokens, and its logits."""
    shape, hidden, targets = targets.shape, *_flat((hidden, targets))
    z = chunk_logits(head, hidden, w.kernel, w.tau, w.first)
    top = jnp.max(z, axis=-1)
    weights = jnp.exp(z - top[:, None])
    parts = Parts(
        top,
        jnp.sum(weights, axis=-1),
        _picked(head, z, w, targets),
        _mean_logits(head, hidden, w, z),
        jnp.sum(weights * z, axis=-1) if head.entropy else None,
    )
    return jax.tree.map(lambda x: x.reshape(shape), parts), z


def stats_of(head: LocalHead, parts: Parts) -> TokenStats:
    """The statistics, of all devices' tokens; 0 where no device has computed any."""
    split = head.split
    top = top_over_vocabulary(split, parts.top)
    factor = jnp.exp(parts.top - top)
    partition = over_vocabulary(split, parts.partition * factor)
    picked = over_vocabulary(split, parts.picked)
    mean = over_vocabulary(split, parts.mean)
    known = partition > 0
    logz = jnp.where(known, top + jnp.log(jnp.where(known, partition, 1.0)), 0.0)
    entropy = None
    if parts.spread is not None:
        spread = over_vocabulary(split, parts.spread * factor)
        entropy = logz - spread / jnp.where(known, partition, 1.0)
    correct = known & (picked >= top)
    return TokenStats(picked - logz, logz, mean - logz, correct, entropy)


def chunk_stats(head: LocalHead, hidden, w: Unembedder, targets):
    """One chunk's statistics `[R, m]`, and its logits `[R * m, V]`."""
    parts, z = chunk_parts(head, hidden, w, targets)
    return stats_of(head, parts), z


def chunk_grads(
    head: LocalHead, ct: TokenStats, stats, z, hidden, w: Unembedder, targets
):
    """Cotangents of `hidden` and `kernel`, in float32, from those of the statistics.

    Both are the parts that come from this device's tokens and rows.
    """
    shape, tau = hidden.shape, w.tau
    ct, stats, hidden, targets = _flat((ct, stats, hidden, targets))
    log_p = z - stats.logz[:, None]
    # `logps` and `mean_logps` hold -logz each.
    slope = (ct.logz - ct.logps - ct.mean_logps)[:, None]
    if ct.entropy is not None:
        slope = slope - ct.entropy[:, None] * (log_p + stats.entropy[:, None])
    ids = _ids(z, w.first)
    dz = jnp.exp(log_p) * slope + (ct.mean_logps / head.vocab_size)[:, None]
    dz = dz + jnp.where(ids == targets[:, None], ct.logps[:, None], 0.0)
    if head.softcap is not None:
        # The slope of c tanh(u / c) is 1 - tanh², and z is already c tanh.
        dz = dz * (1 - jnp.square((z if tau is None else z * tau) / head.softcap))
    if _padded(head, w.kernel):
        dz = jnp.where(ids < head.vocab_size, dz, 0.0)
    dtype = dz.dtype
    dz = (dz if tau is None else dz / tau).astype(hidden.dtype)
    d_hidden = jnp.einsum("nv,vd->nd", dz, w.kernel, preferred_element_type=dtype)
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
