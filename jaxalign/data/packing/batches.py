"""Batches by number: each is a pure function of the seed and the step.

There is no hidden position: `batches[step]` can be asked for in any order, on any
host, and a run goes on after a stop by going on counting.
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxalign.batch import Batch
from jaxalign.data.packing.layout import ExampleLayout, lay_out
from jaxalign.data.packing.order import permutation
from jaxalign.data.packing.pack import RowShape, fill, pack
from jaxalign.data.packing.row_plan import (
    buckets,
    choose_row_counts,
    choose_row_shape,
    round_rows,
)
from jaxalign.data.text.example import Example
from jaxalign.errors import UserError

# Each of up to 36 row shapes is tried on so many examples; on all of a large file that
# would take minutes.
_TRIAL_EXAMPLES = 2_000
# Rows are counted with the one chosen shape only, so more examples are affordable.
_COUNTED_EXAMPLES = 100_000


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """The shapes of a run, decided before its first step.

    Attributes:
      shapes: one with packing; without, one per bucket of lengths, rising.
      row_counts: the numbers of rows that occur; a step compiles for each shape and
        each of them.
      row_multiple: what they are multiples of.
      at_a_time: rows of a microbatch at most, over all devices; None: all.
    """

    shapes: tuple[RowShape, ...]
    row_counts: tuple[int, ...]
    row_multiple: int
    at_a_time: int | None = None

    def rows_for(self, count: int) -> int:
        """The number of rows in which `count` of them are computed."""
        listed = (x for x in self.row_counts if x >= count)
        # A number above the foreseen ones compiles once more, and no batch is refused.
        return next(listed, round_rows(count, self.row_multiple, self.at_a_time))


class Batches(Sequence[Batch]):
    """The updates of a run as a sequence of batches of NumPy arrays.

    Update `step` holds the examples number `step * batch_size` and following of an
    endless row of epochs, each a permutation of its own. The last update of the run may
    hold fewer.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        batch_size: int,
        seed: int = 0,
        num_epochs: float = 1.0,
        shuffle: bool = True,
        packing: bool = True,
        share_prompt: bool = True,
        read_ends: bool = False,
        row_multiple: int = 1,
        rows_at_a_time: Callable[[int], int] | None = None,
        row_length: int | None = None,
        row_targets: int | None = None,
        process_index: int = 0,
        process_count: int = 1,
    ):
        """Lays out the examples and chooses the shapes.

        Args:
          examples: encoded records, all with the same number of sequences.
          batch_size: examples in an update, over all devices and hosts.
          seed: of the order.
          num_epochs: how often each example is used; may be a fraction.
          shuffle: False keeps the order given.
          packing: several examples in a row; else one, padded to a bucket.
          share_prompt: hold the prompt of several completions once.
          read_ends: hold the end of each sequence in place of its trained tokens;
            numbers of completions may then differ.
          row_multiple: numbers of rows are multiples of it: the devices.
          rows_at_a_time: from the tokens in a row to how many rows make a microbatch
            at most, over all devices, a multiple of `row_multiple`. Numbers of rows
            then split into equal microbatches.
          row_length: tokens in a row (T), else chosen from the lengths.
          row_targets: targets in a row (M), else chosen from the lengths.
          process_index: this host's number; it gets its share of each batch's rows.
          process_count: number of hosts; must divide `row_multiple`.
        """
        if not examples:
            raise UserError("There is no example left to make batches of.")
        if batch_size < 1 or row_multiple < 1:
            raise UserError(
                f"batch_size ({batch_size}) and row_multiple ({row_multiple}) must be"
                " at least 1."
            )
        if row_multiple % process_count:
            raise UserError(
                f"The number of rows is a multiple of {row_multiple}, which does not"
                f" divide over {process_count} hosts."
            )
        most = max(len(x.sequences) for x in examples)
        if not read_ends and any(len(x.sequences) < most for x in examples):
            raise UserError("The examples have different numbers of completions.")
        layouts = [
            lay_out(x, share_prompt=share_prompt, read_ends=read_ends, branches=most)
            for x in examples
        ]
        # A label that some lack would come and go between batches, and compile anew.
        common = set.intersection(*(set(x.labels) for x in layouts))
        self.layouts = [
            dataclasses.replace(x, labels={k: x.labels[k] for k in sorted(common)})
            for x in layouts
        ]
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.packing = packing
        self._total = max(1, round(len(examples) * num_epochs))
        self._process = process_index, process_count
        self._columns: dict[str, Mapping[int, np.ndarray]] = {}
        # Two epochs: an update at their border takes examples of both.
        self._order = functools.lru_cache(maxsize=2)(self._order_of_epoch)
        self._rows_at_a_time = rows_at_a_time or (lambda tokens: 0)
        self.plan = self._make_plan(row_multiple, row_length, row_targets)

    def __len__(self) -> int:
        """The number of updates."""
        return math.ceil(self._total / self.batch_size)

    def __getitem__(self, step: Any) -> Batch:
        """The batch of update `step`, this host's rows of it."""
        step = int(step)
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of {len(self)}")
        layouts = [self._with_columns(x) for x in self._update(step)]
        # Packing looks at this update alone, so a resumed run makes the same rows.
        if self.packing:
            shape = self.plan.shapes[0]
            rows = pack(layouts, shape)
        else:
            rows = [[i] for i in range(len(layouts))]
            longest = max(len(x.inputs) for x in layouts)
            shape = next(x for x in self.plan.shapes if x.tokens >= longest)
        count = self.plan.rows_for(len(rows))
        # Every host fills the whole batch, so that all agree on its rows without
        # talking.
        batch = fill(layouts, rows, shape, count)
        index, processes = self._process
        here = slice(index * count // processes, (index + 1) * count // processes)
        return batch.rows(here)

    def with_columns(self, **columns: Mapping[int, np.ndarray]) -> "Batches":
        """The same batches with per-target columns.

        Args:
          **columns: for each name the values of every example that is used, by id:
            `[m]` in the order of `ExampleLayout.target_ids`, as `unpack_targets`
            returns them.
        """
        for name, values in columns.items():
            for x in self.used():
                if x.index not in values:
                    raise UserError(f"`{name}` has no values for example {x.index}.")
                if len(values[x.index]) != len(x.target_ids):
                    raise UserError(
                        f"`{name}` has {len(values[x.index])} values for example"
                        f" {x.index}, which has {len(x.target_ids)} targets."
                    )
        # Not through __init__, which would lay out everything and choose shapes again.
        copy = object.__new__(Batches)
        copy.__dict__.update(self.__dict__)
        copy._columns = {**self._columns, **columns}
        return copy

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hex digest of every example's id, inputs and targets, in their order."""
        digest = hashlib.sha256()
        for x in self.layouts:
            sizes = np.array([x.index, len(x.inputs), len(x.target_ids)])
            for leaf in (sizes, x.inputs, x.branch_ids, x.target_ids, x.target_at):
                digest.update(leaf.tobytes())
        return digest.hexdigest()

    def one_epoch(self) -> "Batches":
        """The same batches as far as the end of the first epoch, or of the run."""
        # Not through __init__, as in `with_columns`.
        copy = object.__new__(Batches)
        copy.__dict__.update(self.__dict__)
        copy._total = min(self._total, len(self.layouts))
        return copy

    def used(self) -> list[ExampleLayout]:
        """The layouts of every example that the run uses."""
        if self._total >= len(self.layouts):
            return self.layouts
        return [x for step in range(len(self)) for x in self._update(step)]

    def examples_of(self, step: int) -> list[int]:
        """Positions in the list of examples of those in update `step`."""
        size = len(self.layouts)
        end = min((step + 1) * self.batch_size, self._total)
        numbers = range(step * self.batch_size, end)
        return [int(self._order(g // size)[g % size]) for g in numbers]

    def _order_of_epoch(self, epoch: int) -> np.ndarray:
        size = len(self.layouts)
        return permutation(size, self.seed, epoch) if self.shuffle else np.arange(size)

    def _update(self, step: int) -> list[ExampleLayout]:
        return [self.layouts[i] for i in self.examples_of(step)]

    def _with_columns(self, layout: ExampleLayout) -> ExampleLayout:
        if not self._columns:
            return layout
        columns = {name: v[layout.index] for name, v in self._columns.items()}
        return dataclasses.replace(layout, columns={**layout.columns, **columns})

    def _make_plan(self, row_multiple, tokens, targets) -> BatchPlan:
        steps = range(len(self))
        if self.packing:
            # Spread over the run: without shuffling its first updates may be its
            # shortest.
            some = steps[:: max(1, self._total // _TRIAL_EXAMPLES)]
            shape = choose_row_shape(
                [self._update(i) for i in some],
                self.layouts,
                row_multiple=row_multiple,
                tokens=tokens,
                targets=targets,
            )
            # On more updates than above, because a row count not met here compiles
            # mid-run.
            more = steps[:: max(1, self._total // _COUNTED_EXAMPLES)]
            counts = [len(pack(self._update(i), shape)) for i in more]
            shapes = (shape,)
        else:
            # A row is an example here, so all updates but the last have one number of
            # rows.
            shapes, counts = self._buckets(), [min(self.batch_size, self._total)]
        # The longest shape decides: what fits in memory there fits with shorter rows.
        at_a_time = self._rows_at_a_time(shapes[-1].tokens) or None
        row_counts = choose_row_counts(
            counts, row_multiple=row_multiple, at_a_time=at_a_time
        )
        return BatchPlan(shapes, row_counts, row_multiple, at_a_time)

    def _buckets(self) -> tuple[RowShape, ...]:
        """Each bucket has room for the targets of every example that it can hold."""
        shapes = []
        for tokens in buckets(self.layouts):
            fit = [len(x.target_ids) for x in self.layouts if len(x.inputs) <= tokens]
            shapes.append(RowShape(tokens, max(fit), 1))
        return tuple(shapes)
