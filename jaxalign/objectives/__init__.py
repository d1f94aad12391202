"""Losses bound to a model and a batch: `(params, batch, key) -> LossOutput`."""

from jaxalign.batch import Batch, Tokens
from jaxalign.losses import Objective
from jaxalign.objectives.batch_statistics import RUNNING
from jaxalign.objectives.bind import (
    bind,
    bind_token_loss,
    mean_logits,
    token_accuracy,
    token_entropy,
)
from jaxalign.objectives.by_completion import by_completion, completion_mask
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
from jaxalign.objectives.distill import distillation_objective
from jaxalign.objectives.mix import MixedBatch, mixed_objective
from jaxalign.objectives.model import (
    Backbone,
    Head,
    LogitsFn,
    Model,
    token_statistics,
)
from jaxalign.objectives.online import Rivals, online_objective
from jaxalign.objectives.policy import regularised, value_loss
from jaxalign.objectives.reads import READS, Critic
from jaxalign.objectives.reward import (
    ScoreLoss,
    compared,
    reward_objective,
    score_extremes,
    scored,
)
from jaxalign.objectives.rollouts import Scores, rollout_scorer
from jaxalign.objectives.signatures import array_names, takes_ref
from jaxalign.objectives.unpaired import kto_objective

__all__ = [
    "READS",
    "RUNNING",
    "Assign",
    "Backbone",
    "Batch",
    "Credit",
    "Critic",
    "Head",
    "LogitsFn",
    "MixedBatch",
    "Model",
    "Objective",
    "Rivals",
    "Sampled",
    "ScoreLoss",
    "Scores",
    "Tokens",
    "advantages_of",
    "array_names",
    "baseline_credit",
    "bind",
    "bind_token_loss",
    "by_completion",
    "centered_credit",
    "compared",
    "completion_mask",
    "distillation_objective",
    "gae_credit",
    "group_credit",
    "group_to_go_credit",
    "kto_objective",
    "mean_logits",
    "mixed_objective",
    "online_objective",
    "plain_credit",
    "regularised",
    "remax_credit",
    "reward_objective",
    "rloo_credit",
    "rollout_scorer",
    "score_extremes",
    "scored",
    "takes_ref",
    "token_accuracy",
    "token_entropy",
    "token_statistics",
    "value_loss",
    "whitened_to_go_credit",
]
