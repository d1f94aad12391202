"""How large the rows of a run are: chosen once, from the lengths of its examples."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from jaxalign.data.packing.layout import ExampleLayout
from jaxalign.data.packing.pack import RowShape, pack

# A target's work in tokens through the layers: 0.14B weights of unembedding to 0.36B of
# layers, as a model of 0.5B with a vocabulary of 150,000 has them.
_TARGET_COST = 0.4
# Tokens at which attention is as much work as the rest of the layers.
_ATTENTION_LENGTH = 4096
# Bounds the slots `[R, P, K]` where some examples are only a few tokens long.
_MAX_EXAMPLES = 64
_MICROBATCH_COST = 1 / 16
"""In rows of a device: adding up gradients."""


def row_cost(tokens: int, targets: int) -> float:
    """Rough work of one row, in units of one token through the layers.

    A target costs a column of the unembedding; attention grows with the square.
    """
    return tokens * (1 + tokens / _ATTENTION_LENGTH) + _TARGET_COST * targets


def choose_row_shape(
    updates: Sequence[Sequence[ExampleLayout]],
    layouts: Sequence[ExampleLayout],
    *,
    row_multiple: int = 1,
    tokens: int | None = None,
    targets: int | None = None,
) -> RowShape:
    """The row shape for which a few updates, packed for trial, cost least.

    Args:
      updates: examples of some updates of the run.
      layouts: all examples; a row is at least as large as the largest.
      row_multiple: the number of rows is a multiple of it.
      tokens: T if it is given and not to be chosen.
      targets: M if it is given and not to be chosen.
    """
    most_tokens = max(len(x.inputs) for x in layouts)
    most_targets = max(len(x.target_ids) for x in layouts)
    fewest = min(len(x.inputs) for x in layouts)
    total = sum(len(x.inputs) for x in layouts)
    ratio = sum(len(x.target_ids) for x in layouts) / total
    best = None
    # Longer rows waste less padding and cost more attention; too few targets leave rows
    # half empty, too many are computed for nothing. So all are tried.
    for stretch, slack in itertools.product(
        (1, 1.25, 1.5, 2, 3, 4), (0, 0.9, 1, 1.1, 1.25, 1.5)
    ):
        # Rounded, so that slightly different data often has a shape compiled before.
        t = tokens or _round_up(most_tokens * stretch, 64)
        m = targets or min(_round_up(max(most_targets, t * ratio * slack), 32), t)
        shape = RowShape(t, m, max(1, min(t // fewest, _MAX_EXAMPLES)))
        # Rounding makes neighbours equal, and packing again would only take time.
        if best and (t, m) == (best[1].tokens, best[1].targets):
            continue
        # Rounded update by update, as each of them is computed.
        rows = sum(_round_up(len(pack(x, shape)), row_multiple) for x in updates)
        cost = rows * row_cost(t, m)
        # At equal cost the smaller shape, tried first, stays.
        if best is None or cost < best[0]:
            best = cost, shape
    assert best is not None
    return best[1]


def choose_row_counts(
    counts: Sequence[int],
    *,
    row_multiple: int = 1,
    at_a_time: int | None = None,
    most: int = 3,
) -> tuple[int, ...]:
    """At most `most` numbers of rows, such that few rows are added to reach one.

    >>> choose_row_counts([9, 9, 10, 15, 16, 16], most=2)
    (10, 16)
    """
    rounded = [round_rows(x, row_multiple, at_a_time) for x in counts]
    values, weights = np.unique(rounded, return_counts=True)
    # 24 values have 277 choices of up to 3 with the largest; 1,000 have half a million.
    if len(values) > 24:
        # linspace keeps the ends: without the largest some update would have no count.
        values = values[np.linspace(0, len(values) - 1, 24).astype(int)]
        weights = np.diff(np.searchsorted(np.sort(rounded), values, "right"), prepend=0)

    def added(chosen: tuple[int, ...]) -> int:
        reached = np.searchsorted(chosen, values)
        return int(np.sum((np.asarray(chosen)[reached] - values) * weights))

    top = int(values[-1])
    options = (
        (*map(int, lower), top)
        for n in range(min(most, len(values)))
        for lower in itertools.combinations(values[:-1], n)
    )
    # At equal padding fewer counts, because each of them compiles once.
    return min(options, key=lambda x: (added(x), len(x)))


def round_rows(count: int, multiple: int, at_a_time: int | None = None) -> int:
    """The number of rows, `count` at least, that takes least time.

    Further rows are work for nothing, and so is, to a smaller part, every microbatch:
    the one that `microbatches` gives may be small.

    Args:
      count: Rows that hold something.
      multiple: Over how many devices the rows of a microbatch are split.
      at_a_time: Most rows of a microbatch, a multiple of `multiple`; None: one
        microbatch holds all.

    >>> [round_rows(n, 1, at_a_time=8) for n in (7, 15, 31)]
    [7, 15, 32]
    """
    least = _round_up(count, multiple)
    if at_a_time is None:
        return least

    def cost(rows: int) -> float:
        return rows + _MICROBATCH_COST * multiple * microbatches(rows, at_a_time)

    # The range holds a multiple of `at_a_time`, so one count always splits evenly.
    return min(
        (
            rows
            for rows in range(least, least + at_a_time, multiple)
            if not rows // microbatches(rows, at_a_time) % multiple
        ),
        key=cost,
    )


def microbatches(rows: int, at_a_time: int) -> int:
    """The fewest equal parts of at most so many rows, as the train step splits them.

    >>> microbatches(6, at_a_time=4), microbatches(7, at_a_time=4)
    (2, 7)
    """
    fewest = -(-rows // at_a_time)
    return next(n for n in range(fewest, rows + 1) if not rows % n)


def buckets(
    layouts: Sequence[ExampleLayout],
    lengths: Callable[[ExampleLayout], int] | None = None,
) -> tuple[int, ...]:
    """Powers of two and their 3/4 from the shortest to the longest example."""
    lengths = lengths or (lambda x: len(x.inputs))
    sizes = [lengths(x) for x in layouts]
    # From 48 on each step is 4/3 or 3/2 of the last: padding is a third of a row at
    # most.
    ladder = sorted({2**i for i in range(5, 31)} | {3 * 2**i for i in range(4, 29)})
    first = next(i for i, x in enumerate(ladder) if x >= min(sizes))
    last = next(i for i, x in enumerate(ladder) if x >= max(sizes))
    return tuple(ladder[first : last + 1])


def _round_up(x: float, multiple: int) -> int:
    return int(-(-x // multiple)) * multiple
