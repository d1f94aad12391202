"""From logits to a token: temperature, top-k, top-p, and the draw itself.

A draw is two uniform numbers and two short cumulative sums. `jax.random.categorical`
gives the same distribution from one random number per vocabulary entry, which on a CPU
costs more than the unembedding.
"""

import chex
import jax
import jax.numpy as jnp

NUCLEUS_CANDIDATES = 1024
"""Top-p without top-k looks at this many of the likeliest tokens: no full sort."""

# The root of 65,536: near a vocabulary of that size both sums of a draw are short.
BLOCK = 256
"""Weights that a draw sums before it looks at single ones."""


def sample_tokens(
    logits: jax.Array,
    uniforms: jax.Array,
    *,
    top_k: int | None = None,
    top_p: float | jax.Array | None = None,
) -> jax.Array:
    """One token per row, from softmax(logits) or its likeliest part.

    Top-k comes first, then top-p: the smallest set of the likeliest tokens whose
    share, of what top-k left, is at least `top_p` (https://arxiv.org/abs/1904.09751).
    Without top-k the share is that of all tokens; a nucleus of more than
    `NUCLEUS_CANDIDATES` tokens is cut there. Among equal logits lower ids come first.

    Args:
      logits: `[B, V]` float32, already divided by the temperature; −inf is never
        drawn, and each row holds a finite value.
      uniforms: `[B, 2]` float32 in [0, 1).
      top_k: Keep this many tokens, > 0; static.
      top_p: Keep this share, in (0, 1]; may be traced.

    Returns:
      `[B]` int32.

    >>> logits = jnp.log(jnp.array([[0.5, 0.0, 0.3, 0.2]]))
    >>> [int(sample_tokens(logits, jnp.full((1, 2), u))[0]) for u in (0.1, 0.6, 0.9)]
    [0, 2, 3]
    >>> int(sample_tokens(logits, jnp.full((1, 2), 0.9), top_k=2)[0])
    2
    """
    chex.assert_rank([logits, uniforms], 2)
    chex.assert_shape(uniforms, (logits.shape[0], 2))
    # Less the largest logit, so that exp neither overflows nor makes all of a row 0.
    top = jnp.max(logits, axis=-1, keepdims=True)
    if top_k is None and top_p is None:
        return draw(jnp.exp(logits - top), uniforms)
    k = min(top_k or NUCLEUS_CANDIDATES, logits.shape[-1])
    values, ids = jax.lax.top_k(logits, k)
    weights = jnp.exp(values - top)
    if top_p is not None:
        whole = None
        if top_k is None:
            whole = jnp.sum(jnp.exp(logits - top), axis=-1)
        weights = in_nucleus(weights, whole, top_p)
    return jnp.take_along_axis(ids, draw(weights, uniforms)[:, None], axis=1)[:, 0]


def in_nucleus(weights: jax.Array, whole: jax.Array | None, top_p) -> jax.Array:
    """`[B, k]` weights, largest first, and 0 behind the share `top_p` of the whole.

    The whole `[B]` is the sum of these weights by default.
    """
    sums = jnp.cumsum(weights, axis=-1)
    whole = sums[:, -1] if whole is None else whole
    # The share before a token: the one that passes `top_p` is the nucleus' last.
    before = jnp.pad(sums[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(before < (top_p * whole)[:, None], weights, 0.0)


def draw(weights: jax.Array, uniforms: jax.Array) -> jax.Array:
    """An index per row of `[B, V]` weights: a block of them, then one of the block."""
    blocks = -(-weights.shape[1] // BLOCK)
    if blocks == 1:
        return invert(weights, uniforms[:, 0])
    # Weight 0: what fills the last block is never drawn.
    padding = blocks * BLOCK - weights.shape[1]
    weights = jnp.pad(weights, ((0, 0), (0, padding)))
    weights = weights.reshape(-1, blocks, BLOCK)
    block = invert(jnp.sum(weights, axis=-1), uniforms[:, 0])
    inside = jnp.take_along_axis(weights, block[:, None, None], axis=1)[:, 0]
    return block * BLOCK + invert(inside, uniforms[:, 1])


def invert(weights: jax.Array, uniform: jax.Array) -> jax.Array:
    """The index at which the cumulative sum of `[B, n]` passes its share `[B]`."""
    sums = jnp.cumsum(weights, axis=-1)
    passed = sums > (uniform * sums[:, -1])[:, None]
    # A long parallel sum rounds differently from entry to entry, and can grow even
    # where a zero is added.
    return jnp.argmax(passed & (weights > 0), axis=-1).astype(jnp.int32)
