"""Several examples in a row: best fit under two capacities, and the batch's arrays.

A row of a batch has room for T tokens and for M targets. The number of rows varies
from update to update, over a few values; all else is fixed for a run, so a step
compiles once for each number of rows.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxalign.batch import Batch, Tokens
from jaxalign.data.packing.layout import ExampleLayout
from jaxalign.errors import UserError


@dataclasses.dataclass(frozen=True)
class RowShape:
    """What one row holds at most.

    Attributes:
      tokens: positions that the model reads (T).
      targets: predictions (M).
      examples: examples (P).
    """

    tokens: int
    targets: int
    examples: int


def pack(layouts: Sequence[ExampleLayout], shape: RowShape) -> list[list[int]]:
    """Which layouts go into which row: best-fit decreasing, the same for every call.

    Every layout lands in exactly one row and is never cut.

    Returns:
      For each row the indices into `layouts`, in the order in which they lie there.

    Raises:
      UserError: a layout is larger than an empty row.
    """
    tokens = np.array([len(x.inputs) for x in layouts], np.int64)
    targets = np.array([len(x.target_ids) for x in layouts], np.int64)
    for i in map(
        int, np.flatnonzero((tokens > shape.tokens) | (targets > shape.targets))
    ):
        raise UserError(
            f"Example {layouts[i].index} takes {tokens[i]} tokens and {targets[i]}"
            f" targets; a row holds {shape.tokens} and {shape.targets}. Lower"
            " --max-length, or raise --row-length."
        )
    # The scarcer of the two capacities says how large an example is.
    size = np.maximum(tokens / shape.tokens, targets / shape.targets)
    rows: list[list[int]] = []
    room = np.zeros((len(layouts), 3), np.int64)
    # Large ones first, so that small ones fill the gaps; stable, so that every host
    # packs alike.
    for i in np.argsort(-size, kind="stable"):
        need = np.array([tokens[i], targets[i], 1])
        used = room[: len(rows)]
        fits = np.flatnonzero((used >= need).all(axis=1))
        if len(fits):
            # Best fit: the row with the least room for tokens that still takes it.
            row = int(fits[used[fits, 0].argmin()])
        else:
            row = len(rows)
            rows.append([])
            room[row] = shape.tokens, shape.targets, shape.examples
        rows[row].append(int(i))
        room[row] -= need
    return rows


def fill(
    layouts: Sequence[ExampleLayout],
    rows: Sequence[Sequence[int]],
    shape: RowShape,
    num_rows: int,
) -> Batch:
    """The arrays of a batch; rows beyond `rows` are all padding.

    Args:
      layouts: of the update's examples, all with the same number of branches K.
      rows: indices into `layouts` for each row.
      shape: capacity T, M, P of a row.
      num_rows: R, at least `len(rows)`.

    Returns:
      A packed `Batch` of NumPy arrays, with those columns and labels that all of the
      examples have, as float32.
    """
    batch = _empty(layouts, shape, num_rows)
    tokens = batch.tokens
    for r, row in enumerate(rows):
        at, target = 0, 0
        for slot, i in enumerate(row):
            x = layouts[i]
            here = slice(at, at + len(x.inputs))
            there = slice(target, target + len(x.target_ids))
            tokens.inputs[r, here] = x.inputs
            tokens.positions[r, here] = x.positions
            tokens.branch_ids[r, here] = x.branch_ids
            # Segment 0 is padding.
            tokens.segment_ids[r, here] = slot + 1
            tokens.target_ids[r, there] = x.target_ids
            tokens.target_at[r, there] = x.target_at + at
            tokens.target_mask[r, there] = True
            batch.example_ids[r, slot] = x.index
            for name, column in batch.per_token.items():
                column[r, there] = x.columns[name]
            for name, label in batch.per_completion.items():
                label[r, slot, : len(x.labels[name])] = x.labels[name]
            batch.length[r, slot] = x.branch_lengths
            # Branches lie one behind the other, each as long as its number of targets.
            ends = np.cumsum(x.branch_lengths)
            batch.start[r, slot] = target + ends - x.branch_lengths
            at, target = here.stop, there.stop
    return batch


def _empty(layouts: Sequence[ExampleLayout], shape: RowShape, num_rows: int) -> Batch:
    """A batch of padding, with room for the columns that all of the layouts have."""
    t, m, p = shape.tokens, shape.targets, shape.examples
    k = max((len(x.branch_lengths) for x in layouts), default=1)
    # Padding is token 0 in segment 0, which no example sees; a slot of -1 is empty.
    inputs = np.zeros((4, num_rows, t), np.int32)
    targets = np.zeros((2, num_rows, m), np.int32)
    starts, lengths = np.zeros((2, num_rows, p, k), np.int32)

    def room(mappings: list[Mapping[str, np.ndarray]], *shape: int):
        names: set[str] = set.intersection(*(set(x) for x in mappings or [{}]))
        return {x: np.zeros((num_rows, *shape), np.float32) for x in sorted(names)}

    return Batch(
        Tokens._make([*inputs, *targets, np.zeros((num_rows, m), bool)]),
        np.full((num_rows, p), -1, np.int32),
        starts,
        lengths,
        room([x.columns for x in layouts], m),
        room([x.labels for x in layouts], p, k),
    )


def unpack_targets(batch: Batch, column: np.ndarray) -> dict[int, np.ndarray]:
    """The values of a per-token array, by example.

    The reverse of how the packer lays out a column, so that what a model made of a
    batch can be kept by example: in the order of `ExampleLayout.target_ids`, all
    branches one behind the other.

    Args:
      batch: as `fill` makes it.
      column: values `[R, M]`.

    Returns:
      `{example id: [m]}` for every example of the batch.
    """
    values, tokens = {}, batch.tokens
    # A target belongs to the segment of the position that predicts it.
    segments = np.take_along_axis(tokens.segment_ids, tokens.target_at, axis=1)
    # Padded targets point at position 0, which belongs to the first example.
    segments = np.where(tokens.target_mask, segments, 0)
    for r, slot in np.argwhere(batch.example_ids >= 0):
        mine = segments[r] == slot + 1
        values[int(batch.example_ids[r, slot])] = np.asarray(column[r])[mine]
    return values


def pad_fraction(batch: Batch) -> float:
    """The share of positions that are padding: metric `data/pad_fraction`."""
    return float(np.mean(batch.tokens.segment_ids == 0))
