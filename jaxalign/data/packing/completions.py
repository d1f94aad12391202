"""Sampled completions as packed rows, of shapes that are fixed before the first.

Completions are dense arrays `[B, N]`, all completions of a prompt side by side. Every
value of theirs (log-probs, rewards, advantages) is such an array too; here they go into
the rows that a model reads, and come back.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxalign.batch import Batch
from jaxalign.data.packing.layout import ExampleLayout, lay_out
from jaxalign.data.packing.pack import RowShape, fill, pack
from jaxalign.data.packing.row_plan import round_rows
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError

# A row has room for one example at its longest, and more than 8 fit only where samples
# are far shorter than they may be.
_MOST_EXAMPLES = 8
# Where a row may choose its length, it stops here: attention grows with the square.
_LONG_ROW = 2048


def completion_layouts(
    prompts: Sequence[Sequence[int]],
    tokens: np.ndarray,
    lengths: np.ndarray,
    *,
    together: int,
) -> list[ExampleLayout]:
    """An example for every `together` completions, which share their prompt.

    Args:
      prompts: token ids; B / len(prompts) completions belong to each, a multiple of
        `together`.
      tokens: completions `[B, N]`, the stop token included.
      lengths: of the completions, `[B]`, 1 or more.
      together: completions in an example (K).

    Returns:
      Layouts numbered from 0: number e holds the completions from `e * together` on.
      Every token of a completion is a target.
    """
    per_prompt = len(tokens) // len(prompts)

    def sequence(b: int) -> TokenSequence:
        prompt = np.asarray(prompts[b // per_prompt], np.int32)
        ids = np.concatenate([prompt, tokens[b, : lengths[b]]]).astype(np.int32)
        return TokenSequence(ids, np.arange(len(ids)) >= len(prompt))

    return [
        lay_out(Example(start // together, tuple(map(sequence, range(start, end)))))
        for start in range(0, len(tokens), together)
        for end in [start + together]
    ]


def with_columns(
    layouts: Sequence[ExampleLayout],
    mask: np.ndarray,
    columns: Mapping[str, np.ndarray],
) -> list[ExampleLayout]:
    """The layouts with the values of their targets.

    Args:
      layouts: of `completion_layouts`, all or some of them.
      mask: `[B, N]` bool, true on the tokens of completions.
      columns: by name, values `[B, N]`.
    """

    def own(x: ExampleLayout) -> dict[str, np.ndarray]:
        k = len(x.branch_lengths)
        here = slice(x.index * k, (x.index + 1) * k)
        # A boolean index runs row by row, as `ExampleLayout.target_ids` does.
        return {name: values[here][mask[here]] for name, values in columns.items()}

    return [dataclasses.replace(x, columns=own(x)) for x in layouts]


def read_column(batch: Batch, column: np.ndarray, out: np.ndarray, mask) -> None:
    """Writes per-target values `[R, M]` of a batch into the dense array `[B, N]` `out`.

    Args:
      batch: packed or not, with `length` as it was made.
      column: what a model made of its targets.
      out: gets the values of the batch's completions.
      mask: `[B, N]` bool.
    """
    together = batch.length.shape[-1]
    for r, slot in np.argwhere(batch.example_ids >= 0):
        first = batch.example_ids[r, slot] * together
        for k in range(together):
            start, n = batch.start[r, slot, k], batch.length[r, slot, k]
            out[first + k, mask[first + k]] = column[r, start : start + n]


@dataclasses.dataclass(frozen=True)
class CompletionRows:
    """How completions lie in rows: decided once, so that a step compiles few times.

    Attributes:
      together: completions that share their prompt in a row (K).
      shape: of a row.
      counts: the numbers of rows that occur.
      packing: several examples in a row, where they fit.
    """

    together: int
    shape: RowShape
    counts: tuple[int, ...]
    packing: bool

    @classmethod
    def plan(
        cls,
        *,
        longest_prompt: int,
        longest_completion: int,
        per_prompt: int,
        completions: int,
        row_multiple: int = 1,
        row_length: int | None = None,
        rows_at_a_time: int | None = None,
        packing: bool = True,
        undivided: bool = False,
    ) -> "CompletionRows":
        """Rows that hold whatever is sampled.

        Completions of one prompt share a row, as many as `row_length` has room for at
        their longest, in equal parts.

        Args:
          longest_prompt: in tokens.
          longest_completion: in tokens.
          per_prompt: completions of each prompt.
          completions: in a batch, a multiple of `per_prompt`.
          row_multiple: the number of rows is a multiple of it: the devices.
          row_length: tokens in a row; by default as many as all completions of a
            prompt take, or 2048 if that is less and holds one.
          rows_at_a_time: rows of a microbatch at most, over all devices.
          packing: lay several examples in a row.
          undivided: all completions of a prompt share a row, however long it is.

        Raises:
          UserError: a prompt and a completion (if they must share a row, all of them)
            may be longer than `row_length`.
        """
        fewest = per_prompt if undivided else 1

        def need(together: int) -> int:
            # Each branch reads the prompt's last token again, and never its own last
            # one.
            return longest_prompt - 1 + together * longest_completion

        if row_length is not None and need(fewest) > row_length:
            several = "a completion" if fewest == 1 else f"{fewest} completions"
            raise UserError(
                f"A prompt of {longest_prompt} tokens and {several} of up to "
                f"{longest_completion} take {need(fewest)} positions; a row has "
                f"{row_length}. Raise --row-length, or lower --max-prompt-length or "
                "--max-new-tokens."
            )
        limit = row_length or max(_LONG_ROW, need(fewest))
        # Equal parts, because all examples of a batch have the same K.
        divisors = [k for k in range(1, per_prompt + 1) if not per_prompt % k]
        together = max(k for k in divisors if need(k) <= limit)
        tokens = row_length or need(together)
        # A row longer than one example needs can hold that many more targets.
        targets = max(together * longest_completion, tokens - longest_prompt + 1)
        most = _MOST_EXAMPLES if packing else 1
        worst = completions // together
        # Packed rows vary with the lengths that are sampled: a step compiles for each
        # quarter of the worst case, one example a row.
        counts = {
            round_rows(-(-worst * quarter // 4), row_multiple, rows_at_a_time)
            for quarter in ((1, 2, 3, 4) if packing else (4,))
        }
        shape = RowShape(tokens, targets, most)
        return cls(together, shape, tuple(sorted(counts)), packing)

    def batch(self, layouts: Sequence[ExampleLayout]) -> Batch:
        """The batch of `pack.fill` for these examples, in the fewest rows there are.

        Args:
          layouts: of `completion_layouts`; at most as many as were planned for.
        """
        alone = [[i] for i in range(len(layouts))]
        rows = pack(layouts, self.shape) if self.packing else alone
        # One is always found: the largest count gives every example a row of its own.
        count = next(n for n in self.counts if n >= len(rows))
        return fill(layouts, rows, self.shape, count)
