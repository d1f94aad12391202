"""Losses of tokens straight from hidden states, with their gradients on the way."""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxalign.ops.chunked import check_states, temperature_of, token_stats_of
from jaxalign.ops.head import (
    LocalHead,
    chunk_grads,
    chunk_stats,
    join_chunks,
    split_chunks,
    unembedder,
    unless_empty,
    zero_kernel,
)
from jaxalign.ops.logps import TokenStats
from jaxalign.ops.per_device import on_each, over_rows, scattered, split_of


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
    check_states(hidden, kernel, targets)
    chex.assert_equal_shape([targets, mask, *per_token])
    chex.assert_type(mask, bool)
    size, split = vocab_size or kernel.shape[0], split_of(hidden, kernel)
    head = LocalHead(softcap, size, entropy, chunk_size, split)
    tau, per_token = temperature_of(temperature, hidden), (targets, mask, *per_token)
    if not head.shared:
        return _loss(loss_fn, head, hidden, kernel, tau, per_token)
    # The loss of a chunk would wait there for the devices that have its other tokens:
    # computing the logits twice costs less than a meeting in each chunk.
    stats = token_stats_of(head, hidden, kernel, tau, targets, mask)
    return loss_fn(stats, *per_token[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _loss(loss_fn, head: LocalHead, hidden, kernel, tau, per_token):
    def per_device(hidden, kernel, tau, per_token):
        w = unembedder(head, hidden, kernel, tau)

        def one(chunk):
            h, targets, *rest = chunk

            def loss():
                return loss_fn(chunk_stats(head, h, w, targets)[0], *rest)

            return unless_empty(rest[0], loss, h)

        with jax.named_scope("chunks"):
            outs = jax.lax.map(one, split_chunks(head, hidden, *per_token))
        return over_rows(head.split, jax.tree.map(lambda x: jnp.sum(x, axis=0), outs))

    return on_each(
        head.split,
        per_device,
        lambda at: (at.per_row, at.kernel, P(), at.per_row),
        lambda _: P(),
    )(hidden, kernel, tau, per_token)


def _loss_forward(loss_fn, head, hidden, kernel, tau, per_token):
    def per_device(hidden, kernel, tau, per_token):
        w = unembedder(head, hidden, kernel, tau)

        def body(total, chunk):
            h, targets, *rest = chunk

            def gradients():
                stats, z = chunk_stats(head, h, w, targets)
                ct, out = _slopes(loss_fn, stats, targets, rest)
                dh, dk = chunk_grads(head, ct, stats, z, h, w, targets)
                return total + dk, (dh.astype(h.dtype), out)

            return unless_empty(rest[0], gradients, h, total)

        chunks = split_chunks(head, hidden, *per_token)
        start = zero_kernel(hidden, w.kernel)
        with jax.named_scope("chunks"):
            dk, (dh, outs) = jax.lax.scan(body, start, chunks)
        out = jax.tree.map(lambda x: jnp.sum(x, axis=0), outs)
        dk = scattered(head.split, dk).astype(kernel.dtype)
        out = over_rows(head.split, out)
        return out, (join_chunks(dh, hidden.shape[1]), dk)

    return on_each(
        head.split,
        per_device,
        lambda at: (at.per_row, at.kernel, P(), at.per_row),
        lambda at: (P(), (at.per_row, at.kernel)),
    )(hidden, kernel, tau, per_token)


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
