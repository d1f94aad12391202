"""Sampled completions as unpacked rows, for models that read whole sequences."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxalign.batch import Batch, Tokens
from jaxalign.data.packing.layout import ExampleLayout


@dataclasses.dataclass(frozen=True)
class SequenceRows:
    """Each completion stands behind its prompt alone, and `together` of them in a row.

    What `CompletionRows` is for packed rows: for models that see nothing of segments
    and branches. All batches have one shape.

    Attributes:
      together: completions of a prompt in a row (K).
      width: tokens of the longest prompt and completion, less one.
      count: rows (R).
    """

    together: int
    width: int
    count: int

    def batch(self, layouts: Sequence[ExampleLayout]) -> Batch:
        """The unpacked batch of these examples.

        Args:
          layouts: of `completion_layouts`; at most as many as there are rows.
        """
        r, k, t = self.count, self.together, self.width
        inputs, target_ids = np.zeros((2, r, k, t), np.int32)
        segments, mask = np.zeros((r, k, t), np.int32), np.zeros((r, k, t), bool)
        names = layouts[0].columns if layouts else ()
        columns = {name: np.zeros((r, k, t), np.float32) for name in names}
        example_ids = np.full((r, 1), -1, np.int32)
        start, length = np.zeros((2, r, 1, k), np.int32)
        for row, x in enumerate(layouts):
            example_ids[row] = x.index
            ends = np.cumsum(x.branch_lengths)
            for branch, (end, n) in enumerate(zip(ends, x.branch_lengths, strict=True)):
                # A completion alone is branch 0, as its prompt is.
                own = (x.branch_ids == 0) | (x.branch_ids == branch + 1)
                read = x.inputs[own]
                inputs[row, branch, : len(read)] = read
                segments[row, branch, : len(read)] = 1
                targets = slice(end - n, end)
                first = x.positions[x.target_at[end - n]]
                there = slice(first, first + n)
                target_ids[row, branch, there] = x.target_ids[targets]
                mask[row, branch, there] = True
                for name, column in columns.items():
                    column[row, branch, there] = x.columns[name][targets]
                start[row, 0, branch], length[row, 0, branch] = branch * t + first, n

        def flat(x: np.ndarray) -> np.ndarray:
            return x.reshape(r, k * t)

        at = np.broadcast_to(np.arange(k * t, dtype=np.int32), (r, k * t))
        positions = np.broadcast_to(np.arange(t, dtype=np.int32), inputs.shape)
        read = inputs, positions, segments, np.zeros_like(inputs)
        tokens = Tokens(*read, flat(target_ids), at, flat(mask))
        per_token = {name: flat(x) for name, x in columns.items()}
        return Batch(tokens, example_ids, start, length, per_token)
