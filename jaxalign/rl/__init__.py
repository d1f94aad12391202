"""RLHF as a library: sample, score, credit, learn, with any model and any reward.

Where things are: `rollout` (sample and score), `scoring` (rewards), `centring` (what
only differences matter for), `credit` and `advantages` (rewards to advantages),
`update` (passes, minibatches, rows), `iteration` and `make` (all of it together),
`state`; `algorithms`, `reinforce_family`, `actor_critic` and `preferences` hold a
function for each algorithm, and `algorithm` what such a function returns.
"""

from jaxalign.rl.actor_critic import adaptive_kl, ppo
from jaxalign.rl.advantages import RolloutArrays, compute_advantages
from jaxalign.rl.algorithm import Algorithm, Options, fixed_kl, policy_gradient
from jaxalign.rl.algorithms import cispo, dapo, dr_grpo, gmpo, grpo, gspo, sapo
from jaxalign.rl.credit import (
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
from jaxalign.rl.devices import Devices
from jaxalign.rl.evaluate import make_reward_evaluation
from jaxalign.rl.iteration import Experience, Iteration
from jaxalign.rl.make import Mix, make_iteration
from jaxalign.rl.preferences import iterative_dpo, nash_md, online_dpo, rebel, xpo
from jaxalign.rl.prompt import Prompt
from jaxalign.rl.reinforce_family import (
    reinforce,
    reinforce_baseline,
    reinforce_pp,
    reinforce_pp_baseline,
    remax,
    rloo,
)
from jaxalign.rl.rollout import Rival, Rollout, Sampler, Sampling
from jaxalign.rl.scorer import TokenScores, rollout_scorer
from jaxalign.rl.scoring import Scoring
from jaxalign.rl.state import Control, RLState

__all__ = [
    "Algorithm",
    "Assign",
    "Control",
    "Credit",
    "Devices",
    "Experience",
    "Iteration",
    "Mix",
    "Options",
    "Prompt",
    "RLState",
    "Rival",
    "Rollout",
    "RolloutArrays",
    "Sampled",
    "Sampler",
    "Sampling",
    "Scoring",
    "TokenScores",
    "adaptive_kl",
    "advantages_of",
    "baseline_credit",
    "centered_credit",
    "cispo",
    "compute_advantages",
    "dapo",
    "dr_grpo",
    "fixed_kl",
    "gae_credit",
    "gmpo",
    "group_credit",
    "group_to_go_credit",
    "grpo",
    "gspo",
    "iterative_dpo",
    "make_iteration",
    "make_reward_evaluation",
    "nash_md",
    "online_dpo",
    "plain_credit",
    "policy_gradient",
    "ppo",
    "rebel",
    "reinforce",
    "reinforce_baseline",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "remax",
    "remax_credit",
    "rloo",
    "rloo_credit",
    "rollout_scorer",
    "sapo",
    "whitened_to_go_credit",
    "xpo",
]
