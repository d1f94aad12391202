"""The one place where tokens are shifted: examples to model inputs and targets.

Completions of one prompt share it: the row holds the prompt once (branch 0) and each
completion behind it (branches 1, 2, ...), which sees the prompt and itself. Positions
are those of the completion's own sequence, so the model's outputs are exactly those of
the sequences alone (arXiv 2410.20305).
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from jaxalign.data.text.example import Example, TokenSequence


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleLayout:
    """An example as it lies in a row: t input positions, m targets, K branches.

    Attributes:
      index: the example's id.
      inputs: token ids `[t]` that the model reads.
      positions: of each token in its own sequence, `[t]`.
      branch_ids: 0 for the shared prompt or a sequence alone, else 1 to K, `[t]`.
      target_ids: tokens to be predicted, `[m]`, branch by branch.
      target_at: index into `inputs` whose output predicts it, `[m]`.
      branch_lengths: number of targets of each sequence, `[K]`.
      columns: per-target values `[m]` by name, such as `ref_logps`.
      labels: what the record says of each sequence, `[K]` by name, such as `margin`.
    """

    index: int
    inputs: np.ndarray
    positions: np.ndarray
    branch_ids: np.ndarray
    target_ids: np.ndarray
    target_at: np.ndarray
    branch_lengths: np.ndarray
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


def shared_prefix(sequences: tuple[TokenSequence, ...]) -> int:
    """How many leading tokens the sequences can share.

    The last token before the first trained one is never shared: each branch repeats
    it, because its output predicts another token in each.
    """
    first = sequences[0].ids
    n = min(x.prompt_length - 1 for x in sequences)
    for other in sequences[1:]:
        k = min(n, len(other.ids), len(first))
        differ = np.flatnonzero(first[:k] != other.ids[:k])
        n = min(k, int(differ[0]) if len(differ) else k)
    return max(n, 0)


def lay_out(
    example: Example,
    *,
    share_prompt: bool = True,
    read_ends: bool = False,
    branches: int | None = None,
) -> ExampleLayout:
    """Inputs and targets of one example.

    Tokens behind the last trained one are left out: no target depends on them.

    Args:
      example: one sequence, or several completions of one prompt.
      share_prompt: hold the common prompt once; else each branch holds its own.
      read_ends: for models that score whole sequences. Each has one slot in place of
        its targets, its last token, which the model then reads too; `target_at` is
        where that token itself lies.
      branches: K, of which those behind the example's own are empty; by default none.
    """
    sequences = tuple(x.to_last_target() for x in example.sequences)
    # With empty branches behind it one sequence is branch 1 of K, as in other examples.
    alone = (branches or len(sequences)) == 1
    n = shared_prefix(sequences) if share_prompt and not alone else 0
    parts = [(sequences[0].ids[:n], np.arange(n), 0)]
    target_ids, target_at, lengths = [], [], []
    offset = n
    for k, x in enumerate(sequences):
        # A score is read where the last token is read; a prediction of it must not see
        # it.
        inputs = x.ids[n:] if read_ends else x.ids[n:-1]
        parts.append((inputs, np.arange(n, n + len(inputs)), 0 if alone else k + 1))
        targets = np.flatnonzero(x.trained)[-1 if read_ends else 0 :]
        target_ids.append(x.ids[targets])
        # The shift: a token's log-probability stands at the position before it.
        target_at.append(targets - (0 if read_ends else 1) - n + offset)
        lengths.append(len(targets))
        offset += len(inputs)
    lengths += [0] * ((branches or 0) - len(lengths))
    return ExampleLayout(
        index=example.index,
        inputs=np.concatenate([p[0] for p in parts]).astype(np.int32),
        positions=np.concatenate([p[1] for p in parts]).astype(np.int32),
        branch_ids=np.concatenate(
            [np.full(len(ids), branch, np.int32) for ids, _, branch in parts]
        ),
        target_ids=np.concatenate(target_ids).astype(np.int32),
        target_at=np.concatenate(target_at).astype(np.int32),
        branch_lengths=np.asarray(lengths, np.int32),
        labels=example.labels,
    )
