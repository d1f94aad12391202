"""The one batch: token sequences in rows, and what is known of them.

`jaxalign.data.packing` fills it with NumPy arrays, objectives read it as arrays on
devices, and nothing converts it on the way. All leaves have the rows first, so that any
of them may be split over microbatches and devices.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Tokens(NamedTuple):
    """What a model reads and is to predict: R rows, M target slots each.

    A *packed* row `[T]` holds several sequences, each of which sees its own segment and
    branch only; there are slots for trained tokens alone. An *unpacked* row `[S, T]` is
    S sequences side by side, which any model reads one by one; it has a slot for every
    position, M = S * T.

    Attributes:
      inputs: `[R, T]` or `[R, S, T]` token ids.
      positions: Of each token in its own sequence, as `inputs`.
      segment_ids: Which example of the row, from 1; 0 is padding; as `inputs`.
      branch_ids: 0 for a shared prompt or a plain sequence, else the number of the
        completion that continues it; as `inputs`.
      target_ids: `[R, M]`, the tokens to predict.
      target_at: `[R, M]`, the position in the (flat) row whose output predicts each.
      target_mask: `[R, M]` bool, which of the predictions count.
    """

    inputs: Any
    positions: Any
    segment_ids: Any
    branch_ids: Any
    target_ids: Any
    target_at: Any
    target_mask: Any


class Batch(NamedTuple):
    """Rows of P examples with K completions each.

    A pair is K = 2, the chosen one first; a plain example is K = 1, a group K = G.

    Attributes:
      tokens: The sequences.
      example_ids: `[R, P]`, numbers of the examples; -1 where there is none.
      start: `[R, P, K]`, the slot at which each completion's targets begin.
      length: `[R, P, K]`, how many slots they span; 0 where there is no completion.
      per_token: By name, `[R, M]` values of the slots: `ref_logps`, `old_logps`,
        `advantages`, `values`, `returns`, `weights`.
      per_completion: By name, `[R, P, K]` values: `margin`, `score`, `desirable`,
        `win_rate`.
    """

    tokens: Tokens
    example_ids: Any
    start: Any
    length: Any
    per_token: Mapping[str, Any] = {}
    per_completion: Mapping[str, Any] = {}

    def with_tokens(self, **columns: Any) -> "Batch":
        """The same with further (or other) columns per token, `[R, M]` each."""
        return self._replace(per_token={**self.per_token, **columns})

    def rows(self, which: Any) -> "Batch":
        """The rows that an index or slice names, of every leaf."""
        return Batch(
            Tokens(*(leaf[which] for leaf in self.tokens)),
            *(leaf[which] for leaf in (self.example_ids, self.start, self.length)),
            *({k: x[which] for k, x in names.items()} for names in self[4:]),
        )
