"""Host batches as the arguments of objectives."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxalign.losses import Pair
from jaxalign.objectives import PairBatch, RewardBatch, TokenBatch


def token_batch(arrays: Mapping[str, Any]) -> TokenBatch:
    """The packed rows among the arrays that `jaxalign.data` makes."""
    return TokenBatch(**{name: arrays[name] for name in TokenBatch._fields})


def pair_batch(arrays: Mapping[str, Any]) -> PairBatch:
    """Packed pairs; without `ref_logps` the reference's log-probabilities are 0."""
    rows = token_batch(arrays)
    ref: Any = arrays.get("ref_logps")
    if ref is None:
        ref = np.zeros(rows.target_ids.shape, np.float32)
    start, length = (
        Pair(arrays[name][..., 0], arrays[name][..., 1])
        for name in ("branch_start", "branch_length")
    )
    return PairBatch(rows, start, length, ref)


def reward_batch(arrays: Mapping[str, Any]) -> RewardBatch:
    """Packed answers with one slot at the end of each, and what the data says of them.

    The labels are those that the batch has: `margin` of pairs, `score` of answers.
    """
    labels = {name: arrays[name] for name in ("margin", "score") if name in arrays}
    start, length = arrays["branch_start"], arrays["branch_length"]
    return RewardBatch(token_batch(arrays), start, length, labels)
