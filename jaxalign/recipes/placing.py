"""Host batches as the arguments of objectives."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxalign.losses import Pair
from jaxalign.objectives import (
    AnswerBatch,
    DistillationBatch,
    PairBatch,
    RewardBatch,
    TokenBatch,
    UnpairedBatch,
)

LABELS = ("margin", "win_rate")
"""Columns of pairs that a loss may read."""


def token_batch(arrays: Mapping[str, Any]) -> TokenBatch:
    """The packed rows among the arrays that `jaxalign.data` makes."""
    return TokenBatch(**{name: arrays[name] for name in TokenBatch._fields})


def pair_batch(arrays: Mapping[str, Any]) -> PairBatch:
    """Packed pairs; without `ref_logps` the reference's log-probabilities are 0."""
    start, length = (_sides(arrays[x]) for x in ("branch_start", "branch_length"))
    labels = {name: _sides(_labels(arrays, name)) for name in LABELS if name in arrays}
    return PairBatch(token_batch(arrays), start, length, _ref_logps(arrays), labels)


def answer_batch(arrays: Mapping[str, Any], label: str) -> AnswerBatch:
    """Packed answers with the column `label`; the reference as in `pair_batch`."""
    start, length = arrays["branch_start"], arrays["branch_length"]
    values: Any = _labels(arrays, label)
    return AnswerBatch(token_batch(arrays), start, length, values, _ref_logps(arrays))


def unpaired_batch(arrays: Mapping[str, Any]) -> UnpairedBatch:
    """Packed answers with the column `desirable`; the reference as in `pair_batch`."""
    pairs = pair_batch(arrays)
    wanted: Any = _labels(arrays, "desirable")[..., 0] > 0.5
    return UnpairedBatch(
        pairs.rows, pairs.start, pairs.length, wanted, pairs.target_ref_logps
    )


def _sides(table: Any) -> Pair[Any]:
    return Pair(table[..., 0], table[..., 1])


def _ref_logps(arrays: Mapping[str, Any]) -> Any:
    known = arrays.get("ref_logps")
    return np.zeros(arrays["target_ids"].shape, np.float32) if known is None else known


def _labels(arrays: Mapping[str, Any], name: str) -> np.ndarray:
    """A label of each response, from the column that repeats it at every target."""
    column = arrays[name]
    first = np.minimum(arrays["branch_start"], column.shape[1] - 1)
    taken = np.take_along_axis(column, first.reshape(len(column), -1), axis=1)
    return taken.reshape(first.shape)


def distillation_batch(arrays: Mapping[str, Any]) -> DistillationBatch:
    """Packed rows, with what share each token is of its answer."""
    share: Any = np.zeros(arrays["target_ids"].shape, np.float32)
    starts, lengths = arrays["branch_start"], arrays["branch_length"]
    for r, p, k in zip(*np.nonzero(lengths), strict=True):
        start, length = starts[r, p, k], lengths[r, p, k]
        share[r, start : start + length] = 1 / length
    return DistillationBatch(token_batch(arrays), share)


def reward_batch(arrays: Mapping[str, Any]) -> RewardBatch:
    """Packed answers with one slot at the end of each, and what the data says of them.

    The labels are those that the batch has: `margin` of pairs, `score` of answers.
    """
    labels = {name: arrays[name] for name in ("margin", "score") if name in arrays}
    start, length = arrays["branch_start"], arrays["branch_length"]
    return RewardBatch(token_batch(arrays), start, length, labels)
