"""Losses bound to a model: `(params, batch, key) -> LossOutput`."""

from collections.abc import Callable
from typing import Any

import jax

from jaxalign.losses import LossOutput, TwoPass
from jaxalign.objectives.answers import packed_answers_objective
from jaxalign.objectives.batches import (
    AnswerBatch,
    PairBatch,
    PreferenceBatch,
    TokenBatch,
    Tokens,
    UnpairedBatch,
)
from jaxalign.objectives.credit import (
    Assign,
    Credit,
    Sampled,
    advantages_of,
    baseline_credit,
    centered_credit,
    gae_credit,
    group_credit,
    group_to_go_credit,
    plain_credit,
    remax_credit,
    rloo_credit,
    whitened_to_go_credit,
)
from jaxalign.objectives.distill import DistillationBatch, packed_distillation_objective
from jaxalign.objectives.mix import MixedBatch, mixed_objective
from jaxalign.objectives.online import Rivals, online_objective
from jaxalign.objectives.policy import (
    Regulariser,
    policy_objective,
    ppo_objective,
    value_objective,
)
from jaxalign.objectives.preference import (
    EXTRAS,
    dpo_objective,
    packed_preference_objective,
    preference_objective,
)
from jaxalign.objectives.reward import (
    RewardBatch,
    ScoreLoss,
    compared,
    packed_reward_objective,
    score_extremes,
    scored,
)
from jaxalign.objectives.rollouts import (
    Critic,
    RolloutBatch,
    Scores,
    rollout_scorer,
)
from jaxalign.objectives.running import RUNNING
from jaxalign.objectives.sft import packed_sft_objective, sft_objective
from jaxalign.objectives.signatures import array_names, takes_ref
from jaxalign.objectives.stats import Backbone, Head, logits_stats, packed_stats
from jaxalign.objectives.unpaired import packed_kto_objective

Objective = Callable[[Any, Any, jax.Array], LossOutput] | TwoPass

__all__ = [
    "EXTRAS",
    "RUNNING",
    "AnswerBatch",
    "Assign",
    "Backbone",
    "Credit",
    "Critic",
    "DistillationBatch",
    "Head",
    "MixedBatch",
    "Objective",
    "PairBatch",
    "PreferenceBatch",
    "Regulariser",
    "RewardBatch",
    "Rivals",
    "RolloutBatch",
    "Sampled",
    "ScoreLoss",
    "Scores",
    "TokenBatch",
    "Tokens",
    "UnpairedBatch",
    "advantages_of",
    "array_names",
    "baseline_credit",
    "centered_credit",
    "compared",
    "dpo_objective",
    "gae_credit",
    "group_credit",
    "group_to_go_credit",
    "logits_stats",
    "mixed_objective",
    "online_objective",
    "packed_answers_objective",
    "packed_distillation_objective",
    "packed_kto_objective",
    "packed_preference_objective",
    "packed_reward_objective",
    "packed_sft_objective",
    "packed_stats",
    "plain_credit",
    "policy_objective",
    "ppo_objective",
    "preference_objective",
    "remax_credit",
    "rloo_credit",
    "rollout_scorer",
    "score_extremes",
    "scored",
    "sft_objective",
    "takes_ref",
    "value_objective",
    "whitened_to_go_credit",
]
