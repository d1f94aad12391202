"""Who sees whom in packed rows."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Far below any score, and finite: a row in which nothing is visible gets equal
# weights instead of NaN.
HIDDEN = -1e30
# A code is segment x 2^16 + branch: an int32 has room for 32,767 segments.
_BRANCHES = 1 << 16


class Visibility(NamedTuple):
    """What decides whether query i sees key j, besides j <= i.

    Attributes:
      positions: `[R, T]` int32, for sliding windows.
      keys: `[R, T]` int32 code of segment and branch, -1 in padding; or None.
      queries: `[R, T]` int32 code of segment and branch; or None.
      prompts: `[R, T]` int32 code of the segment's shared prompt; or None.
    """

    positions: jax.Array
    keys: jax.Array | None
    queries: jax.Array | None
    prompts: jax.Array | None


def visibility(positions, segment_ids=None, branch_ids=None) -> Visibility:
    """The codes of packed rows, each argument `[R, T]` int32 or None.

    Query i sees key j iff j <= i, both are in the same segment, which is not 0
    (padding), and j is in the shared prompt (branch 0) or in the branch of i.
    """
    if segment_ids is None:
        if branch_ids is None:
            return Visibility(positions, None, None, None)
        segment_ids = jnp.ones_like(branch_ids)
    prompts = segment_ids * _BRANCHES
    codes = prompts if branch_ids is None else prompts + branch_ids
    # No query has the code -1, so nobody sees padding.
    keys = jnp.where(segment_ids > 0, codes, -1)
    return Visibility(positions, keys, codes, None if branch_ids is None else prompts)


def visible(rows: Visibility, window, start: int, stop: int) -> jax.Array:
    """Keys 0 .. stop that queries start .. stop see: `[R or 1, queries, keys]`."""
    causal = np.arange(stop)[None] <= np.arange(start, stop)[:, None]
    seen = jnp.asarray(causal[None])
    q, k = (slice(None), slice(start, stop), None), (slice(None), None, slice(stop))
    if rows.keys is not None and rows.queries is not None:
        same = rows.keys[k] == rows.queries[q]
        if rows.prompts is not None:
            same |= rows.keys[k] == rows.prompts[q]
        seen = seen & same
    if window is not None:
        seen = seen & (rows.positions[q] - rows.positions[k] < window)
    return seen


def seen_between(rows: Visibility, window, query, key, block: int) -> jax.Array:
    """`visible` for one block of queries and one of keys: `[R, block, block]`.

    Args:
      rows: With every field.
      window: int32 scalar.
      query: Where the block of queries begins; may be traced.
      key: Where the block of keys begins.
      block: Their length.
    """

    def at(x: jax.Array, start) -> jax.Array:
        return jax.lax.dynamic_slice_in_dim(x, start, block, 1)

    assert rows.keys is not None
    assert rows.queries is not None
    assert rows.prompts is not None
    ids = jnp.arange(block, dtype=jnp.int32)
    causal = (key + ids)[None, None] <= (query + ids)[None, :, None]
    keys = at(rows.keys, key)[:, None]
    same = keys == at(rows.queries, query)[:, :, None]
    same |= keys == at(rows.prompts, query)[:, :, None]
    back = at(rows.positions, query)[:, :, None] - at(rows.positions, key)[:, None]
    return causal & same & (back < window)


def filled_up(x: jax.Array, padding: int) -> jax.Array:
    """`[R, T, ...]` with so many zeros behind each row."""
    return jnp.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2))


def complete(rows: Visibility, padding: int) -> Visibility:
    """Every field there, and what fills up a row is seen by nobody."""
    one = jnp.ones_like(rows.positions)
    keys = one if rows.keys is None else rows.keys
    queries = one if rows.queries is None else rows.queries
    prompts = queries if rows.prompts is None else rows.prompts
    keys = jnp.pad(keys, [(0, 0), (0, padding)], constant_values=-1)
    rest = (filled_up(x, padding) for x in (rows.positions, queries, prompts))
    positions, queries, prompts = rest
    return Visibility(positions, keys, queries, prompts)
