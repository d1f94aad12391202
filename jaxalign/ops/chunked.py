"""Token statistics straight from hidden states: the logits are never all there.

A scan goes over chunks of positions; one chunk's logits live at a time, and `head.py`
says what is done with them. `fused.py` does the same for a loss and its gradient.
"""

import functools

import chex
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxalign.ops.head import (
    LocalHead,
    chunk_grads,
    chunk_logits,
    chunk_parts,
    join_chunks,
    split_chunks,
    stats_of,
    unembedder,
    unless_empty,
    zero_kernel,
)
from jaxalign.ops.logps import TokenStats
from jaxalign.ops.per_device import (
    on_each,
    over_vocabulary,
    scattered,
    split_of,
    varying,
)
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
    float32. Under a layout each device goes through the chunks of its own rows.

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
      chunk_size: Positions whose logits a device holds at a time, over all its rows.

    Returns:
      `TokenStats` of `[R, M]` arrays, float32 (float64 for float64 `hidden`).

    >>> h, w = jnp.ones((1, 3, 2)), jnp.zeros((4, 2))
    >>> print(jnp.exp(chunked_stats(h, w, jnp.array([[0, 1, 2]]), chunk_size=2).logps))
    [[0.25 0.25 0.25]]
    """
    check_states(hidden, kernel, targets)
    if mask is not None:
        chex.assert_equal_shape([targets, mask])
        chex.assert_type(mask, bool)
    size, split = vocab_size or kernel.shape[0], split_of(hidden, kernel)
    head = LocalHead(softcap, size, entropy, chunk_size, split)
    return token_stats_of(
        head, hidden, kernel, temperature_of(temperature, hidden), targets, mask
    )


def temperature_of(temperature, hidden):
    """The divisor of the logits; None, and no pass over them, if it is 1."""
    if isinstance(temperature, int | float) and temperature == 1:
        return None
    return jnp.asarray(temperature, sum_dtype(hidden))


def check_states(hidden, kernel, targets):
    """Refuses arrays that do not belong together."""
    chex.assert_rank([hidden, kernel, targets], [3, 2, 2])
    chex.assert_type([hidden, kernel, targets], [float, float, int])
    chex.assert_equal_shape_prefix([hidden, targets], 2)
    chex.assert_equal(hidden.shape[-1], kernel.shape[-1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def token_stats_of(head: LocalHead, hidden, kernel, tau, targets, mask):
    """`chunked_stats` with all that is static in `head`."""

    def per_device(hidden, kernel, tau, targets, mask):
        w = unembedder(head, hidden, kernel, tau)

        def body(_, chunk):
            h, targets, mask = chunk

            def statistics():
                parts = chunk_parts(head, h, w, targets)[0]
                return parts if head.shared else stats_of(head, parts)

            return None, unless_empty(mask, statistics, h)

        arrays = varying(head.split, (hidden, targets, mask))
        with jax.named_scope("chunks"):
            found = jax.lax.scan(body, None, split_chunks(head, *arrays))[1]
        found = join_chunks(found, targets.shape[1])
        # Devices that share a row's tokens meet once, behind the loop.
        return stats_of(head, found) if head.shared else found

    return on_each(
        head.split,
        per_device,
        lambda at: (at.per_row, at.kernel, P(), at.per_row, at.per_row),
        lambda at: at.per_row,
    )(hidden, kernel, tau, targets, mask)


def _stats_forward(head, *inputs):
    stats = token_stats_of(head, *inputs)
    return stats, (inputs, stats)


def _stats_backward(head, residuals, ct):
    (hidden, kernel, tau, targets, mask), stats = residuals
    ct = ct._replace(correct=jnp.zeros_like(targets))

    def per_device(hidden, kernel, tau, *per_position):
        w = unembedder(head, hidden, kernel, tau)

        def body(total, chunk):
            h, t, m, stats, ct = chunk

            def gradients():
                z = chunk_logits(head, _rows_of(h), w.kernel, w.tau, w.first)
                dh, dk = chunk_grads(head, ct, stats, z, h, w, t)
                return total + dk, dh if head.shared else dh.astype(h.dtype)

            return unless_empty(m, gradients, h, total)

        arrays = varying(head.split, (hidden, *per_position))
        start = zero_kernel(arrays[0], w.kernel)
        with jax.named_scope("chunks"):
            dk, dh = jax.lax.scan(body, start, split_chunks(head, *arrays))
        d_hidden = over_vocabulary(head.split, join_chunks(dh, hidden.shape[1]))
        d_kernel = scattered(head.split, dk)
        return d_hidden.astype(hidden.dtype), d_kernel.astype(kernel.dtype)

    d_hidden, d_kernel = on_each(
        head.split,
        per_device,
        lambda at: (at.per_row, at.kernel, P(), *[at.per_row] * 4),
        lambda at: (at.per_row, at.kernel),
    )(hidden, kernel, tau, targets, mask, stats, ct)
    return d_hidden, d_kernel, None, None, None


token_stats_of.defvjp(_stats_forward, _stats_backward)


def _rows_of(hidden):
    return hidden.reshape(-1, hidden.shape[-1])
