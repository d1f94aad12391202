"""What scores text: rules, verifiers, reward models, judges."""

from jaxalign.rewards.completion import Completion
from jaxalign.rewards.loading import load_rewards, parse_reward
from jaxalign.rewards.reward import Reward
from jaxalign.rewards.scoring import Scores, score
from jaxalign.rewards.shaping import (
    informative_groups,
    missing_eos_penalty,
    missing_eos_score,
    token_rewards,
)

__all__ = [
    "Completion",
    "Reward",
    "Scores",
    "informative_groups",
    "load_rewards",
    "missing_eos_penalty",
    "missing_eos_score",
    "parse_reward",
    "score",
    "token_rewards",
]
