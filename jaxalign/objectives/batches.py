"""What objectives read: plain rows for any model, packed rows for speed.

`Tokens` and `PreferenceBatch` hold one sequence per row and suit any model that is a
function. `TokenBatch` and `PairBatch` are the packed rows that `jaxalign.data` makes:
several examples in a row, and a slot for each trained token only, so that the
unembedding never sees another position.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses import Pair


class Tokens(NamedTuple):
    """One sequence per row, already shifted: position t of all three is one token.

    Attributes:
      inputs: `[B, T]`, what the model reads.
      targets: `[B, T]`, what it is to predict at each position.
      mask: `[B, T]` bool, which of the predictions count.
    """

    inputs: jax.Array
    targets: jax.Array
    mask: jax.Array


class PreferenceBatch(NamedTuple):
    """Both responses of each pair, prompt included, and what the reference thinks.

    Attributes:
      tokens: Both sides' `Tokens`, whose lengths may differ.
      ref_logps: Their token log-probabilities under the reference, each `[B, T]`.
    """

    tokens: Pair[Tokens]
    ref_logps: Pair[jax.Array]

    @property
    def mask(self) -> Pair[jax.Array]:
        """Which tokens count, each `[B, T]`."""
        return Pair(self.tokens.chosen.mask, self.tokens.rejected.mask)


class TokenBatch(NamedTuple):
    """Packed rows: R rows of T positions with M target slots each.

    Attributes:
      inputs: `[R, T]` token ids.
      positions: `[R, T]`, each token's position in its own sequence.
      segment_ids: `[R, T]`, which example of the row, from 1; 0 is padding.
      branch_ids: `[R, T]`, 0 for a shared prompt or a plain sequence, else the
        number of the response that continues it.
      target_ids: `[R, M]`, the tokens to predict.
      target_at: `[R, M]`, the position in the row whose output predicts each.
      target_mask: `[R, M]` bool, which slots are real.
    """

    inputs: jax.Array
    positions: jax.Array
    segment_ids: jax.Array
    branch_ids: jax.Array
    target_ids: jax.Array
    target_at: jax.Array
    target_mask: jax.Array


class PairBatch(NamedTuple):
    """Packed rows of pairs, each prompt once with both responses behind it.

    Attributes:
      rows: The `TokenBatch`.
      start: Where each response's targets begin among the M slots, both `[R, P]`.
      length: How many they are, both `[R, P]`; 0 where the row holds no such pair.
      target_ref_logps: `[R, M]`, each target's log-probability under the reference.
      labels: By name, what the records say of each response, both `[R, P]`.
    """

    rows: TokenBatch
    start: Pair[jax.Array]
    length: Pair[jax.Array]
    target_ref_logps: jax.Array
    labels: Mapping[str, Pair[jax.Array]] = {}

    @property
    def mask(self) -> Pair[jax.Array]:
        """Which of M token slots each response fills, both `[R, P, M]` bool."""
        slots = self.rows.target_ids.shape[1]
        return Pair(*(_filled(n, slots) for n in self.length))

    @property
    def ref_logps(self) -> Pair[jax.Array]:
        """The reference's log-probabilities by response, both `[R, P, M]`."""
        return self.by_response(self.target_ref_logps)

    def by_response(self, per_target: jax.Array) -> Pair[jax.Array]:
        """`[R, M]` values of the target slots -> by response, both `[R, P, M]`."""
        return Pair(*(_taken(per_target, start) for start in self.start))


class AnswerBatch(NamedTuple):
    """Packed rows of K answers to a prompt, which stands once with all behind it.

    Attributes:
      rows: The `TokenBatch`.
      start: Where each answer's targets begin among the M slots, the best first,
        `[R, P, K]`.
      length: How many they are, `[R, P, K]`; 0 where there is no such answer.
      label: What the records say of each answer, `[R, P, K]`.
      target_ref_logps: `[R, M]`, each target's log-probability under the reference.
    """

    rows: TokenBatch
    start: jax.Array
    length: jax.Array
    label: jax.Array
    target_ref_logps: jax.Array

    @property
    def mask(self) -> jax.Array:
        """Which of M token slots each answer fills, `[R, P, K, M]` bool."""
        return _filled(self.length, self.rows.target_ids.shape[1])

    def by_answer(self, per_target: jax.Array) -> jax.Array:
        """`[R, M]` values of the target slots -> by answer, `[R, P, K, M]`."""
        return _taken(per_target, self.start)


class UnpairedBatch(NamedTuple):
    """Packed rows of answers with a label, each beside one that is not its prompt's.

    Attributes:
      rows: The `TokenBatch`.
      start: Where targets begin among the M slots, those of the answer itself as
        chosen, those of the other one as rejected, both `[R, P]`.
      length: How many they are, both `[R, P]`; 0 where the row holds no such answer.
      desirable: `[R, P]` bool, which answers are wanted.
      target_ref_logps: `[R, M]`, each target's log-probability under the reference.
    """

    rows: TokenBatch
    start: Pair[jax.Array]
    length: Pair[jax.Array]
    desirable: jax.Array
    target_ref_logps: jax.Array

    @property
    def pairs(self) -> PairBatch:
        """The same as pairs: own answer and other answer."""
        return PairBatch(self.rows, self.start, self.length, self.target_ref_logps)


def _filled(length: jax.Array, slots: int) -> jax.Array:
    """`[...]` numbers of tokens -> `[..., slots]` bool."""
    shape = (*length.shape, slots)
    return jax.lax.broadcasted_iota(jnp.int32, shape, length.ndim) < length[..., None]


def _taken(per_target: jax.Array, start: jax.Array) -> jax.Array:
    """`[R, M]` values of targets, from each `start` `[R, ...]` on: `[R, ..., M]`."""
    rows, slots = per_target.shape
    shape = (*start.shape, slots)
    at = start[..., None] + jax.lax.broadcasted_iota(start.dtype, shape, start.ndim)
    at = jnp.minimum(at, slots - 1).reshape(rows, -1)
    return jnp.take_along_axis(per_target, at, axis=1).reshape(shape)
