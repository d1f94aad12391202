"""Losses bound to a model: `(params, batch, key) -> LossOutput`."""

from collections.abc import Callable
from typing import Any

import jax

from jaxalign.losses import LossOutput
from jaxalign.objectives.batches import (
    PairBatch,
    PreferenceBatch,
    TokenBatch,
    Tokens,
)
from jaxalign.objectives.preference import (
    dpo_objective,
    packed_preference_objective,
    preference_objective,
    takes_ref,
)
from jaxalign.objectives.reward import (
    RewardBatch,
    ScoreLoss,
    compared,
    packed_reward_objective,
    score_extremes,
    scored,
)
from jaxalign.objectives.sft import packed_sft_objective, sft_objective
from jaxalign.objectives.stats import Backbone, Head, logits_stats, packed_stats

Objective = Callable[[Any, Any, jax.Array], LossOutput]

__all__ = [
    "Backbone",
    "Head",
    "Objective",
    "PairBatch",
    "PreferenceBatch",
    "RewardBatch",
    "ScoreLoss",
    "TokenBatch",
    "Tokens",
    "compared",
    "dpo_objective",
    "logits_stats",
    "packed_preference_objective",
    "packed_reward_objective",
    "packed_sft_objective",
    "packed_stats",
    "preference_objective",
    "score_extremes",
    "scored",
    "sft_objective",
    "takes_ref",
]
