"""Choosing tokens where several devices have the logits of a row together.

Each looks at its own part of the vocabulary; what they tell each other is a few numbers
of each row. The choice is the one that `sample_tokens` makes from all logits at once.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxalign.ops import current_layout
from jaxalign.rollout.sampling import (
    BLOCK,
    NUCLEUS_CANDIDATES,
    draw,
    in_nucleus,
    invert,
)


class _Part(NamedTuple):
    """A device's part of the vocabulary.

    Attributes:
      axes: Mesh axes over which the vocabulary is split.
      first: The first token's id.
      size: Tokens of all devices.
    """

    axes: tuple[str, ...]
    first: jax.Array
    size: int


def shares_vocabulary(size: int) -> bool:
    """Whether the layout in force splits a vocabulary of this size."""
    layout = current_layout()
    return layout is not None and bool(layout.axes("vocabulary", size))


def chosen_together(
    logits: jax.Array,
    allowed: jax.Array,
    uniforms: jax.Array | None,
    *,
    top_k: int | None = None,
    top_p: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """A token for each row, and its log-probability.

    Args:
      logits: `[B, V]` float32, divided by the temperature, split over the vocabulary.
      allowed: The same, -inf where a token must not be taken.
      uniforms: `[B, 2]`, or None to take the likeliest.
      top_k: As for `sample_tokens`.
      top_p: As for `sample_tokens`.

    Returns:
      `[B]` int32, and `[B]` float32 log-probabilities under `logits`.
    """
    layout = current_layout()
    assert layout is not None
    rows = layout.axes("rows", logits.shape[0]) or None
    axes, size = layout.axes("vocabulary", logits.shape[1]), logits.shape[1]

    def on_each(logits, allowed, uniforms, top_p):
        first = jax.lax.axis_index(axes) * jnp.int32(logits.shape[1])
        part = _Part(axes, first, size)
        token = _token(part, allowed, uniforms, top_k, top_p)
        return token, _logps(part, logits, token)

    mapped = jax.shard_map(
        on_each,
        mesh=layout.mesh,
        in_specs=(P(rows, axes), P(rows, axes), P(rows), P()),
        out_specs=(P(rows), P(rows)),
        # Each device has the same result, which the check cannot know of.
        check_vma=False,
    )
    return mapped(logits, allowed, uniforms, top_p)


def _token(part: _Part, logits, uniforms, top_k, top_p) -> jax.Array:
    if uniforms is None:
        return _likeliest(part, logits, 1)[1][:, 0]
    top = jax.lax.pmax(jnp.max(logits, axis=-1, keepdims=True), part.axes)
    if top_k is None and top_p is None:
        return _drawn(part, jnp.exp(logits - top), uniforms)
    k = min(top_k or NUCLEUS_CANDIDATES, part.size)
    values, ids = _likeliest(part, logits, k)
    weights = jnp.exp(values - top)
    if top_p is not None:
        whole = None
        if top_k is None:
            whole = jax.lax.psum(jnp.sum(jnp.exp(logits - top), axis=-1), part.axes)
        weights = in_nucleus(weights, whole, top_p)
    return jnp.take_along_axis(ids, draw(weights, uniforms)[:, None], axis=1)[:, 0]


def _likeliest(part: _Part, logits, k: int) -> tuple[jax.Array, jax.Array]:
    """The k largest logits of each row and their ids, the lower id first if equal."""
    # All of the k likeliest may lie on one device, so each offers so many.
    values, ids = jax.lax.top_k(logits, min(k, logits.shape[1]))
    gather = functools.partial(
        jax.lax.all_gather, axis_name=part.axes, axis=1, tiled=True
    )
    values, ids = gather(values), gather(part.first + ids.astype(jnp.int32))
    # Parts stand in the order of their ids, so of equal logits the lower id comes
    # first.
    values, at = jax.lax.top_k(values, k)
    return values, jnp.take_along_axis(ids, at, axis=1)


def _drawn(part: _Part, weights: jax.Array, uniforms: jax.Array) -> jax.Array:
    """`draw` with the blocks that it would have if all weights were here."""
    if part.size <= BLOCK:
        whole = jax.lax.all_gather(weights, part.axes, axis=1, tiled=True)
        return draw(whole, uniforms)
    rows, length = weights.shape
    # A part may begin and end inside of a block.
    mine = length // BLOCK + 2
    first = part.first // BLOCK
    # A block may lie on two devices: here are zeros where the other one has it.
    padded = jax.lax.dynamic_update_slice(
        jnp.zeros((rows, mine * BLOCK), weights.dtype),
        weights,
        (jnp.zeros((), jnp.int32), part.first % BLOCK),
    ).reshape(rows, mine, BLOCK)
    sums = jax.lax.dynamic_update_slice(
        jnp.zeros((rows, part.size // BLOCK + mine), weights.dtype),
        jnp.sum(padded, axis=-1),
        (jnp.zeros((), jnp.int32), first),
    )
    blocks = -(-part.size // BLOCK)
    sums = jax.lax.psum(sums, part.axes)[:, :blocks]
    block = invert(sums, uniforms[:, 0])
    at = block - first
    here = ((at >= 0) & (at < mine))[:, None]
    at = jnp.clip(at, 0, mine - 1)
    inside = jnp.take_along_axis(padded, at[:, None, None], axis=1)[:, 0]
    inside = jax.lax.psum(jnp.where(here, inside, 0.0), part.axes)
    return block * BLOCK + invert(inside, uniforms[:, 1])


def _logps(part: _Part, logits, token) -> jax.Array:
    top = jax.lax.pmax(jnp.max(logits, axis=-1), part.axes)
    total = jax.lax.psum(jnp.sum(jnp.exp(logits - top[:, None]), axis=-1), part.axes)
    at = token - part.first
    here = (at >= 0) & (at < logits.shape[1])
    at = jnp.clip(at, 0, logits.shape[1] - 1)
    picked = jnp.take_along_axis(logits, at[:, None], axis=1)[:, 0]
    picked = jax.lax.psum(jnp.where(here, picked, 0.0), part.axes)
    return picked - top - jnp.log(total)
