"""Sampled answers as packed rows, in shapes that are fixed before the first of them.

Answers are dense arrays `[B, N]`, all answers of a prompt side by side. Every value of
theirs (log-probs, rewards, advantages) is such an array too; here they go into the rows
that a model reads, and come back.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxalign.batch import Batch
from jaxalign.data.packing.layout import Layout, lay_out
from jaxalign.data.packing.pack import RowShape, fill, pack, unpack_targets
from jaxalign.data.packing.row_plan import round_rows
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError

_MOST_EXAMPLES = 8
_LONG_ROW = 2048


def answer_layouts(
    prompts: Sequence[Sequence[int]],
    tokens: np.ndarray,
    lengths: np.ndarray,
    *,
    together: int,
) -> list[Layout]:
    """An example for every `together` answers, which share their prompt.

    Args:
      prompts: token ids; B / len(prompts) answers belong to each, a multiple of
        `together`.
      tokens: answers `[B, N]`, the stop token included.
      lengths: of the answers, `[B]`, 1 or more.
      together: answers in an example (K).

    Returns:
      Layouts numbered from 0: number e holds the answers from `e * together` on. Every
      token of an answer is a target.
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
    layouts: Sequence[Layout], mask: np.ndarray, columns: Mapping[str, np.ndarray]
) -> list[Layout]:
    """The layouts with the values of their targets.

    Args:
      layouts: of `answer_layouts`, all or some of them.
      mask: `[B, N]` bool, true on the tokens of answers.
      columns: by name, values `[B, N]`.
    """

    def own(x: Layout) -> dict[str, np.ndarray]:
        k = len(x.branch_lengths)
        here = slice(x.index * k, (x.index + 1) * k)
        return {name: values[here][mask[here]] for name, values in columns.items()}

    return [dataclasses.replace(x, columns=own(x)) for x in layouts]


def read_column(batch: Batch, column: np.ndarray, out: np.ndarray, mask) -> None:
    """Writes per-target values `[R, M]` of a batch into the dense array `[B, N]` `out`.

    Args:
      batch: of `AnswerRows.batch`.
      column: what a model made of its targets.
      out: gets the values of the batch's answers.
      mask: `[B, N]` bool.
    """
    together = batch.length.shape[-1]
    for index, values in unpack_targets(batch, column).items():
        here = slice(index * together, (index + 1) * together)
        out[here][mask[here]] = values


@dataclasses.dataclass(frozen=True)
class AnswerRows:
    """How answers lie in rows: decided once, so that a step compiles a few times only.

    Attributes:
      together: answers that share their prompt in a row (K).
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
        longest_answer: int,
        per_prompt: int,
        answers: int,
        row_multiple: int = 1,
        row_length: int | None = None,
        rows_at_a_time: int | None = None,
        packing: bool = True,
        undivided: bool = False,
    ) -> "AnswerRows":
        """Rows that hold whatever is sampled.

        Answers of one prompt share a row, as many as `row_length` has room for at their
        longest, in equal parts.

        Args:
          longest_prompt: in tokens.
          longest_answer: in tokens.
          per_prompt: answers to each prompt.
          answers: in a batch, a multiple of `per_prompt`.
          row_multiple: the number of rows is a multiple of it: the devices.
          row_length: tokens in a row; by default as many as all answers of a prompt
            take, or 2048 if that is less and holds one.
          rows_at_a_time: rows of a microbatch at most, over all devices.
          packing: lay several examples in a row.
          undivided: all answers of a prompt share a row, however long it is.

        Raises:
          UserError: a prompt and an answer (if they must share a row, all answers) may
            be longer than `row_length`.
        """
        fewest = per_prompt if undivided else 1

        def need(together: int) -> int:
            return longest_prompt - 1 + together * longest_answer

        if row_length is not None and need(fewest) > row_length:
            several = "an answer" if fewest == 1 else f"{fewest} answers"
            raise UserError(
                f"A prompt of {longest_prompt} tokens and {several} of up to "
                f"{longest_answer} take {need(fewest)} positions; a row has "
                f"{row_length}. Raise --row-length, or lower --max-prompt-length or "
                "--max-new-tokens."
            )
        limit = row_length or max(_LONG_ROW, need(fewest))
        divisors = [k for k in range(1, per_prompt + 1) if not per_prompt % k]
        together = max(k for k in divisors if need(k) <= limit)
        tokens = row_length or need(together)
        targets = max(together * longest_answer, tokens - longest_prompt + 1)
        most = _MOST_EXAMPLES if packing else 1
        worst = answers // together
        counts = {
            round_rows(-(-worst * quarter // 4), row_multiple, rows_at_a_time)
            for quarter in ((1, 2, 3, 4) if packing else (4,))
        }
        shape = RowShape(tokens, targets, most)
        return cls(together, shape, tuple(sorted(counts)), packing)

    def batch(self, layouts: Sequence[Layout]) -> Batch:
        """The batch of `pack.fill` for these examples, in the fewest rows there are.

        Args:
          layouts: of `answer_layouts`; at most as many as were planned for.
        """
        alone = [[i] for i in range(len(layouts))]
        rows = pack(layouts, self.shape) if self.packing else alone
        count = next(n for n in self.counts if n >= len(rows))
        return fill(layouts, rows, self.shape, count)
