"""Divergences of two models' distributions at each token, in chunks of positions.

As in `chunked.py` the logits of one chunk live at a time, here those of both models;
they are computed again on the way back.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxalign.ops.checks import check_arrays, check_positive, check_range
from jaxalign.ops.head import LocalHead, chunk_logits, join_chunks, split_chunks
from jaxalign.ops.per_device import everywhere, on_each, split_of, whole
from jaxalign.ops.reduce import sum_dtype


class Divergences(NamedTuple):
    """The two directions of the divergence from a reference.

    Attributes:
      to_ref: KL(π ‖ π_ref), the one of the RLHF objective.
      from_ref: KL(π_ref ‖ π), that of TDPO and of distillation by cross-entropy.
    """

    to_ref: jax.Array
    from_ref: jax.Array


def chunked_kl(
    hidden: jax.Array,
    kernel: jax.Array,
    ref_hidden: jax.Array,
    ref_kernel: jax.Array,
    *,
    temperature: float = 1.0,
    softcap: float | None = None,
    ref_softcap: float | None = None,
    vocab_size: int | None = None,
    chunk_size: int = 512,
) -> Divergences:
    """Both KL divergences of whole distributions at each token.

        Σ_v π(v) log(π(v)/π_ref(v)) and Σ_v π_ref(v) log(π_ref(v)/π(v))

    No gradient flows into the reference. The policy's kernel gets its gradient in
    float32.

    Args:
      hidden: `[R, M, D]`, the policy's hidden states, any float type.
      kernel: `[V, D]`, its unembedding.
      ref_hidden: `[R, M, D']`, the reference's at the same positions.
      ref_kernel: `[V', D']`, its unembedding.
      temperature: Both distributions are those of `logits / temperature`, > 0.
      softcap: The policy's bound on logits, or None.
      ref_softcap: The reference's.
      vocab_size: How many rows of both kernels are tokens; None for all.
      chunk_size: Positions whose logits a device holds at a time, over all its rows.

    Returns:
      `Divergences` of `[R, M]` arrays, in nats, float32 (float64 for float64 `hidden`).

    >>> h, w = jnp.ones((1, 3, 1)), jnp.array([[0.0], [0.0]])
    >>> ref = jnp.log(jnp.array([[0.2], [0.8]]))
    >>> print(chunked_kl(h, w, h, ref).to_ref)
    [[0.22314... 0.22314... 0.22314...]]
    """
    models = hidden, kernel, ref_hidden, ref_kernel
    caps = softcap, ref_softcap
    return _each_token(_kl, models, caps, temperature, vocab_size, chunk_size)


def chunked_jsd(
    hidden: jax.Array,
    kernel: jax.Array,
    ref_hidden: jax.Array,
    ref_kernel: jax.Array,
    *,
    mixture: float | jax.Array = 0.5,
    temperature: float = 1.0,
    softcap: float | None = None,
    ref_softcap: float | None = None,
    vocab_size: int | None = None,
    chunk_size: int = 512,
) -> jax.Array:
    """The generalised Jensen–Shannon divergence to a teacher at each token.

        β KL(π_ref ‖ m) + (1 − β) KL(π ‖ m),  m = β π_ref + (1 − β) π

    Agarwal et al., https://arxiv.org/abs/2306.13649. Divided by β it goes to
    KL(π_ref ‖ π) as β → 0, and divided by 1 − β to KL(π ‖ π_ref) as β → 1; at the ends
    themselves it is 0, so take `chunked_kl` there. On the student's own samples it is
    on-policy distillation. No gradient flows into the teacher.

    Args:
      hidden: `[R, M, D]`, the student's hidden states, any float type.
      kernel: `[V, D]`, its unembedding.
      ref_hidden: `[R, M, D']`, the teacher's at the same positions.
      ref_kernel: `[V', D']`, its unembedding.
      mixture: β, in (0, 1), Python or traced.
      temperature: Both distributions are those of `logits / temperature`, > 0.
      softcap: The student's bound on logits, or None.
      ref_softcap: The teacher's.
      vocab_size: How many rows of both kernels are tokens; None for all.
      chunk_size: Positions whose logits a device holds at a time, over all its rows.

    Returns:
      `[R, M]`, in nats, float32 (float64 for float64 `hidden`).

    >>> h, w = jnp.ones((1, 1, 1)), jnp.array([[50.0], [-50.0]])
    >>> print(chunked_jsd(h, w, h, -w))  # nothing in common: log 2
    [[0.6931472]]
    """
    models = hidden, kernel, ref_hidden, ref_kernel
    caps = softcap, ref_softcap
    check_range("mixture", mixture, 0, 1, open_low=True)
    beta = jnp.asarray(mixture, sum_dtype(hidden))
    divergence = functools.partial(_jsd, beta=beta)
    return _each_token(divergence, models, caps, temperature, vocab_size, chunk_size)


def _kl(logp, logq) -> Divergences:
    gap = logp - logq
    to_ref = jnp.sum(jnp.exp(logp) * gap, axis=-1)
    return Divergences(to_ref, -jnp.sum(jnp.exp(logq) * gap, axis=-1))


def _jsd(logp, logq, *, beta):
    log_mixed = jnp.logaddexp(jnp.log(beta) + logq, jnp.log1p(-beta) + logp)
    from_ref = jnp.sum(jnp.exp(logq) * (logq - log_mixed), axis=-1)
    to_mixed = jnp.sum(jnp.exp(logp) * (logp - log_mixed), axis=-1)
    return beta * from_ref + (1 - beta) * to_mixed


def _each_token(
    divergence: Callable[..., Any], models, caps, temperature, vocab_size, chunk_size
):
    hidden, kernel, ref_hidden, ref_kernel = models
    _check(hidden, kernel, ref_hidden, ref_kernel, vocab_size)
    check_positive("temperature", temperature)
    size = vocab_size or kernel.shape[0]
    split, other = split_of(hidden, kernel), split_of(ref_hidden, ref_kernel)
    heads = [LocalHead(cap, size, False, chunk_size) for cap in caps]

    def per_device(hidden, kernel, ref_hidden, ref_kernel, tau):
        mine = whole(split, hidden.dtype, kernel)
        theirs = everywhere(other, jax.lax.stop_gradient(ref_kernel))
        kernels = mine[:size], theirs[:size]

        @jax.checkpoint
        def one(chunk, kernels):
            pieces = zip(heads, chunk, kernels, strict=True)
            logits = [_logits(head, h, k, tau) for head, h, k in pieces]
            values = divergence(*(jax.nn.log_softmax(z) for z in logits))
            shape = chunk[0].shape[:2]
            return jax.tree.map(lambda x: x.reshape(shape), values)

        def body(_, chunk):
            return None, one(chunk, kernels)

        chunks = split_chunks(heads[0], hidden, ref_hidden)
        with jax.named_scope("chunks"):
            values = jax.lax.scan(body, None, chunks)[1]
        return join_chunks(values, hidden.shape[1])

    # Devices that share a row's tokens take some of its positions each: the loop over
    # chunks needs whole distributions.
    length = hidden.shape[1]
    hidden, ref_hidden = (
        _filled_up(x, 1 if split is None else split.sharers)
        for x in (hidden, jax.lax.stop_gradient(ref_hidden))
    )
    tau = jnp.asarray(temperature, sum_dtype(hidden))
    values = on_each(
        split,
        per_device,
        lambda at: (
            at.per_position,
            at.kernel,
            at.per_position,
            P() if other is None else other.kernel,
            P(),
        ),
        lambda at: at.per_position,
    )(hidden, kernel, ref_hidden, ref_kernel, tau)
    return jax.tree.map(lambda x: x[:, :length], values)


def _filled_up(x: jax.Array, parts: int) -> jax.Array:
    """`[R, M, D]` with positions added until M is a multiple of `parts`."""
    return jnp.pad(x, [(0, 0), (0, -x.shape[1] % parts), (0, 0)])


def _logits(head: LocalHead, hidden, kernel, tau):
    flat = hidden.reshape(-1, hidden.shape[-1])
    return chunk_logits(head, flat, kernel.astype(hidden.dtype), None) / tau


def _check(hidden, kernel, ref_hidden, ref_kernel, vocab_size):
    rows = "V" if vocab_size is None else "V'"
    check_arrays(
        hidden=(hidden, "float[R, M, D]"),
        kernel=(kernel, "float[V, D]"),
        ref_hidden=(ref_hidden, "float[R, M, D']"),
        ref_kernel=(ref_kernel, f"float[{rows}, D']"),
    )
