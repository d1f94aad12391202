"""Token statistics straight from hidden states: the logits are never all there.

Both functions scan over chunks of positions; one chunk's logits live at a time, and
`head.py` says what is done with them.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from jaxalign.ops.head import (
    Head,
    chunk_grads,
    chunk_stats,
    join_chunks,
    mean_row,
    split_chunks,
    unless_empty,
    zero_kernel,
)
from jaxalign.ops.logps import TokenStats
from jaxalign.ops.reduce import sum_dtype


def chunked_stats(
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    *,
    mask: jax.Array | None = None,
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
      mask: `[R, M]` bool, the positions that count. A chunk without any costs nothing:
        its statistics are 0, and what flows back into them is lost.
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
    if mask is not None:
        chex.assert_equal_shape([targets, mask])
        chex.assert_type(mask, bool)
    head = Head(softcap, vocab_size or kernel.shape[0], entropy, chunk_size)
    tau = _tau(temperature, hidden)
    return _stats(head, hidden, kernel, tau, targets, mask)


def fused_token_loss(
    loss_fn: Callable[..., Any],
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    mask: jax.Array,
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
      loss_fn: `(stats, mask, *per_token) -> LossOutput` on `[R, m]` pieces.
      hidden: `[R, M, D]`, the hidden states that predict `targets`.
      kernel: `[V, D]`, the unembedding; used in the type of `hidden`.
      targets: `[R, M]`, token ids in `[0, vocab_size)`.
      mask: `[R, M]` bool, the positions that count. A chunk without any costs nothing.
      *per_token: Further `[R, M]` arrays. `loss_fn` is handed pieces of all of them;
        what fills up the last chunk is zero, hence masked.
      temperature: As in `chunked_stats`.
      softcap: As in `chunked_stats`.
      vocab_size: As in `chunked_stats`.
      entropy: As in `chunked_stats`.
      chunk_size: As in `chunked_stats`.

    Returns:
      The sum of what `loss_fn` returned for the chunks.
    """
    _check(hidden, kernel, targets)
    chex.assert_equal_shape([targets, mask, *per_token])
    chex.assert_type(mask, bool)
    head = Head(softcap, vocab_size or kernel.shape[0], entropy, chunk_size)
    tau = _tau(temperature, hidden)
    return _loss(loss_fn, head, hidden, kernel, tau, (targets, mask, *per_token))


def _tau(temperature, hidden):
    """The divisor of the logits; None, and no pass over them, if it is 1."""
    if isinstance(temperature, int | float) and temperature == 1:
        return None
    return jnp.asarray(temperature, sum_dtype(hidden))


def _check(hidden, kernel, targets):
    chex.assert_rank([hidden, kernel, targets], [3, 2, 2])
    chex.assert_type([hidden, kernel, targets], [float, float, int])
    chex.assert_equal_shape_prefix([hidden, targets], 2)
    chex.assert_equal(hidden.shape[-1], kernel.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _stats(head: Head, hidden, kernel, tau, targets, mask):
    cast, mean = kernel.astype(hidden.dtype), mean_row(head, kernel)

    def body(_, chunk):
        h, targets, mask = chunk

        def statistics():
            return chunk_stats(head, h, cast, mean, tau, targets)[0]

        return None, unless_empty(mask, statistics, h)

    chunks = split_chunks(head, hidden, targets, mask)
    return join_chunks(jax.lax.scan(body, None, chunks)[1], targets.shape[1])


def _stats_forward(head, *inputs):
    return _stats(head, *inputs), inputs


def _stats_backward(head, residuals, ct):
    hidden, kernel, tau, targets, mask = residuals
    cast, mean = kernel.astype(hidden.dtype), mean_row(head, kernel)
    ct = ct._replace(correct=jnp.zeros_like(targets))

    def body(total, chunk):
        h, t, m, ct = chunk

        def gradients():
            stats, z = chunk_stats(head, h, cast, mean, tau, t)
            dh, dk = chunk_grads(head, ct, stats, z, h, cast, tau, t)
            return total + dk, dh.astype(h.dtype)

        return unless_empty(m, gradients, h, total)

    chunks = split_chunks(head, hidden, targets, mask, ct)
    dk, dh = jax.lax.scan(body, zero_kernel(hidden, kernel), chunks)
    d_hidden = join_chunks(dh, targets.shape[1])
    return d_hidden, dk.astype(kernel.dtype), None, None, None


_stats.defvjp(_stats_forward, _stats_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _loss(loss_fn, head: Head, hidden, kernel, tau, per_token):
    cast, mean = kernel.astype(hidden.dtype), mean_row(head, kernel)

    def one(chunk):
        h, targets, *rest = chunk

        def loss():
            return loss_fn(chunk_stats(head, h, cast, mean, tau, targets)[0], *rest)

        return unless_empty(rest[0], loss, h)

    outs = jax.lax.map(one, split_chunks(head, hidden, *per_token))
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), outs)


def _loss_forward(loss_fn, head, hidden, kernel, tau, per_token):
    cast, mean = kernel.astype(hidden.dtype), mean_row(head, kernel)

    def body(total, chunk):
        h, targets, *rest = chunk

        def gradients():
            stats, z = chunk_stats(head, h, cast, mean, tau, targets)
            ct, out = _slopes(loss_fn, stats, targets, rest)
            dh, dk = chunk_grads(head, ct, stats, z, h, cast, tau, targets)
            return total + dk, (dh.astype(h.dtype), out)

        return unless_empty(rest[0], gradients, h, total)

    chunks = split_chunks(head, hidden, *per_token)
    dk, (dh, outs) = jax.lax.scan(body, zero_kernel(hidden, kernel), chunks)
    out = jax.tree.map(lambda x: jnp.sum(x, axis=0), outs)
    return out, (join_chunks(dh, hidden.shape[1]), dk.astype(kernel.dtype))


def _slopes(loss_fn, stats: TokenStats, targets, rest):
    """The loss of a chunk, and how its total changes with each statistic."""

    def loss_total(floats):
        out = loss_fn(stats._replace(**floats), *rest)
        return out.loss.total, out

    floats = stats._replace(correct=None)._asdict()
    floats = {name: x for name, x in floats.items() if x is not None}
    ct, out = jax.grad(loss_total, has_aux=True)(floats)
    return TokenStats(**{"correct": targets, "entropy": None, **ct}), out


def _loss_backward(loss_fn, head, residuals, ct):
    del loss_fn, head
    scale = ct.loss.total
    d_hidden, d_kernel = (x * scale.astype(x.dtype) for x in residuals)
    return d_hidden, d_kernel, None, None


_loss.defvjp(_loss_forward, _loss_backward)
