"""The papers: token log-probabilities and bool masks in, `LossOutput` out.

Notation of the docstrings. y is a response, y_w the chosen and y_l the rejected one of
a pair, |y| its number of tokens. lp(y) = Σ_t log π(y_t) over the mask is its
log-probability and a(y) = lp(y)/|y| the mean over its tokens; h(y) = lp(y) − lp_ref(y)
is its log-ratio to the reference, β h(y) its implicit reward, and D = h(y_w) − h(y_l)
the margin of a pair. A loss is a mean over valid pairs or responses.
"""

from jaxalign.losses.aot import aot_pair_loss, aot_unpaired_loss
from jaxalign.losses.apo import apo_down_loss, apo_zero_loss
from jaxalign.losses.base import (
    LossFn,
    LossOutput,
    Objective,
    Pair,
    is_batch_coupled,
)
from jaxalign.losses.bco import bco_loss, bco_unpaired_loss
from jaxalign.losses.contrastive import (
    exo_pair_loss,
    infonca_loss,
    nca_pair_loss,
    pairwise_exo,
)
from jaxalign.losses.discopop import discopop_loss, pairwise_discopop
from jaxalign.losses.divergences import (
    alpha_divergence,
    forward_kl,
    jensen_shannon,
    reverse_kl,
)
from jaxalign.losses.dpo import (
    dpo_loss,
    dpo_nll_loss,
    dpop_loss,
    robust_dpo_loss,
    unweighted_dpo_loss,
)
from jaxalign.losses.f_dpo import (
    f_dpo_alpha_loss,
    f_dpo_forward_kl_loss,
    f_dpo_js_loss,
    f_dpo_reverse_kl_loss,
)
from jaxalign.losses.grpo import dapo_loss, dr_grpo_loss, grpo_loss
from jaxalign.losses.hinge import hinge_loss, slic_loss
from jaxalign.losses.ipo import ipo_length_normalised_loss, ipo_loss
from jaxalign.losses.kto import kto_loss, kto_reference_point
from jaxalign.losses.length import (
    ld_dpo_loss,
    length_regularised_dpo_loss,
    ln_dpo_loss,
    shared_length_weights,
)
from jaxalign.losses.likelihood import (
    preferred_ft_loss,
    token_unlikelihood_loss,
    unlikelihood_loss,
)
from jaxalign.losses.links import (
    debiased,
    pairwise_hinge,
    pairwise_logistic,
    pairwise_sigmoid,
    pairwise_square,
    smoothed,
)
from jaxalign.losses.mixing import combine, mixed_preference_loss
from jaxalign.losses.off_policy import (
    entropy_threshold,
    high_entropy_mask,
    masked_importance_weights,
    masked_sequence_importance_weights,
    off_policy_mask,
    sequence_importance_weights,
    truncated_importance_weights,
)
from jaxalign.losses.online import nash_md_loss, xpo_loss
from jaxalign.losses.pairs import labelled_output, pair_output
from jaxalign.losses.policy_gradient import (
    entropy_bonus,
    kl_score_loss,
    policy_gradient_loss,
    positive_nll_loss,
    ptx_term,
    reinforce_loss,
)
from jaxalign.losses.ppo import (
    clipped_value_error,
    dual_clip_policy_loss,
    ppo_loss,
    ppo_policy_loss,
    ppo_value_loss,
)
from jaxalign.losses.ranking import plackett_luce_dpo_loss, plackett_luce_nll
from jaxalign.losses.reference import ema_reference
from jaxalign.losses.reference_free import (
    cpo_loss,
    cpo_simpo_loss,
    orpo_loss,
    simpo_loss,
)
from jaxalign.losses.responses import Pairs, Responses, sum_pairs, sum_responses
from jaxalign.losses.reward_model import (
    bradley_terry_loss,
    kwise_loss,
    plackett_luce_loss,
    regression_loss,
)
from jaxalign.losses.rewarded import a_star_po_loss, mappo_loss, rebel_loss, soft_value
from jaxalign.losses.sampled import (
    SampledTokens,
    clip_metrics,
    policy_output,
    ratio_metrics,
    sampled_tokens,
    sequence_level,
    sequence_token_level,
)
from jaxalign.losses.sequence_ratio import gmpo_loss, gspo_loss, gspo_token_loss
from jaxalign.losses.sft import sft_loss
from jaxalign.losses.soft_clip import cispo_loss, sapo_loss
from jaxalign.losses.sppo import sppo_hard_loss, sppo_soft_loss
from jaxalign.losses.surrogate import (
    cispo_surrogate,
    clipped_surrogate,
    dual_clipped_surrogate,
    sapo_surrogate,
    unclipped_surrogate,
)
from jaxalign.losses.tdpo import tdpo1_loss, tdpo2_loss
from jaxalign.losses.weighted import beta_dpo_keep, beta_dpo_loss, wpo_loss, wpo_weights

__all__ = [
    "LossFn",
    "LossOutput",
    "Objective",
    "Pair",
    "Pairs",
    "Responses",
    "SampledTokens",
    "a_star_po_loss",
    "alpha_divergence",
    "aot_pair_loss",
    "aot_unpaired_loss",
    "apo_down_loss",
    "apo_zero_loss",
    "bco_loss",
    "bco_unpaired_loss",
    "beta_dpo_keep",
    "beta_dpo_loss",
    "bradley_terry_loss",
    "cispo_loss",
    "cispo_surrogate",
    "clip_metrics",
    "clipped_surrogate",
    "clipped_value_error",
    "combine",
    "cpo_loss",
    "cpo_simpo_loss",
    "dapo_loss",
    "debiased",
    "discopop_loss",
    "dpo_loss",
    "dpo_nll_loss",
    "dpop_loss",
    "dr_grpo_loss",
    "dual_clip_policy_loss",
    "dual_clipped_surrogate",
    "ema_reference",
    "entropy_bonus",
    "entropy_threshold",
    "exo_pair_loss",
    "f_dpo_alpha_loss",
    "f_dpo_forward_kl_loss",
    "f_dpo_js_loss",
    "f_dpo_reverse_kl_loss",
    "forward_kl",
    "gmpo_loss",
    "grpo_loss",
    "gspo_loss",
    "gspo_token_loss",
    "high_entropy_mask",
    "hinge_loss",
    "infonca_loss",
    "ipo_length_normalised_loss",
    "ipo_loss",
    "is_batch_coupled",
    "jensen_shannon",
    "kl_score_loss",
    "kto_loss",
    "kto_reference_point",
    "kwise_loss",
    "labelled_output",
    "ld_dpo_loss",
    "length_regularised_dpo_loss",
    "ln_dpo_loss",
    "mappo_loss",
    "masked_importance_weights",
    "masked_sequence_importance_weights",
    "mixed_preference_loss",
    "nash_md_loss",
    "nca_pair_loss",
    "off_policy_mask",
    "orpo_loss",
    "pair_output",
    "pairwise_discopop",
    "pairwise_exo",
    "pairwise_hinge",
    "pairwise_logistic",
    "pairwise_sigmoid",
    "pairwise_square",
    "plackett_luce_dpo_loss",
    "plackett_luce_loss",
    "plackett_luce_nll",
    "policy_gradient_loss",
    "policy_output",
    "positive_nll_loss",
    "ppo_loss",
    "ppo_policy_loss",
    "ppo_value_loss",
    "preferred_ft_loss",
    "ptx_term",
    "ratio_metrics",
    "rebel_loss",
    "regression_loss",
    "reinforce_loss",
    "reverse_kl",
    "robust_dpo_loss",
    "sampled_tokens",
    "sapo_loss",
    "sapo_surrogate",
    "sequence_importance_weights",
    "sequence_level",
    "sequence_token_level",
    "sft_loss",
    "shared_length_weights",
    "simpo_loss",
    "slic_loss",
    "smoothed",
    "soft_value",
    "sppo_hard_loss",
    "sppo_soft_loss",
    "sum_pairs",
    "sum_responses",
    "tdpo1_loss",
    "tdpo2_loss",
    "token_unlikelihood_loss",
    "truncated_importance_weights",
    "unclipped_surrogate",
    "unlikelihood_loss",
    "unweighted_dpo_loss",
    "wpo_loss",
    "wpo_weights",
    "xpo_loss",
]
