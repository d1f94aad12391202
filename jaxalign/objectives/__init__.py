"""Losses bound to a model and a batch: `(params, batch, key) -> LossOutput`."""

from jaxalign.backbone import Backbone, Head
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
from jaxalign.objectives.distill import distillation_objective
from jaxalign.objectives.mix import MixedBatch, mixed_objective
from jaxalign.objectives.model import (
    LogitsFn,
    Model,
    token_statistics,
)
from jaxalign.objectives.online import Rivals, online_objective, rivals_loss
from jaxalign.objectives.policy import regularised, value_loss
from jaxalign.objectives.reads import READS, Critic
from jaxalign.objectives.reward import (
    ScoreLoss,
    compared,
    reward_objective,
    score_extremes,
    scored,
)
from jaxalign.objectives.signatures import array_names, takes_ref
from jaxalign.objectives.unpaired import kto_objective

__all__ = [
    "READS",
    "RUNNING",
    "Backbone",
    "Batch",
    "Critic",
    "Head",
    "LogitsFn",
    "MixedBatch",
    "Model",
    "Objective",
    "Rivals",
    "ScoreLoss",
    "Tokens",
    "array_names",
    "bind",
    "bind_token_loss",
    "by_completion",
    "compared",
    "completion_mask",
    "distillation_objective",
    "kto_objective",
    "mean_logits",
    "mixed_objective",
    "online_objective",
    "regularised",
    "reward_objective",
    "rivals_loss",
    "score_extremes",
    "scored",
    "takes_ref",
    "token_accuracy",
    "token_entropy",
    "token_statistics",
    "value_loss",
]
