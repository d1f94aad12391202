"""What scores text: rules, verifiers, reward models, judges.

Names that compute arrays are imported when they are asked for: the process of a user's
rewards knows this package, and JAX is nothing that it should have.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxalign.rewards.abstention import (
    abstention,
    abstention_reward,
    abstention_threshold,
    outcome_of,
    outcomes,
    wrong_reward,
)
from jaxalign.rewards.calibration import (
    brier,
    confidence_target,
    log_score,
    target_instruction,
)
from jaxalign.rewards.comparison import comparing_judge, preferences, rival_judge
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.judge import abstention_judge, rating_judge
from jaxalign.rewards.length import length_penalty, overlong_penalty
from jaxalign.rewards.loading import (
    describe_rewards,
    load_rewards,
    parse_reward,
    read_reward,
)
from jaxalign.rewards.matching import contains_answer, exact_match, normalized_match
from jaxalign.rewards.number import number_match
from jaxalign.rewards.pattern import matches_pattern, stopped
from jaxalign.rewards.reading.confidence import stated_confidence
from jaxalign.rewards.reading.stance import abstains
from jaxalign.rewards.repetition import repetition_penalty
from jaxalign.rewards.reward import Reward
from jaxalign.rewards.rubric import rubric_judge
from jaxalign.rewards.scoring import Scores, score

if TYPE_CHECKING:
    from jaxalign.rewards.ensemble import (
        ensemble_mean,
        ensemble_min,
        mean_minus_variance,
        soft_pessimism,
    )
    from jaxalign.rewards.model import model_reward
    from jaxalign.rewards.shaping import (
        informative_groups,
        missing_eos_penalty,
        missing_eos_score,
        token_rewards,
    )

_WITH_ARRAYS = ("ensemble", "model", "shaping")

__all__ = [
    "Completion",
    "Reward",
    "Scores",
    "abstains",
    "abstention",
    "abstention_judge",
    "abstention_reward",
    "abstention_threshold",
    "brier",
    "comparing_judge",
    "confidence_target",
    "contains_answer",
    "describe_rewards",
    "ensemble_mean",
    "ensemble_min",
    "exact_match",
    "informative_groups",
    "length_penalty",
    "load_rewards",
    "log_score",
    "matches_pattern",
    "mean_minus_variance",
    "missing_eos_penalty",
    "missing_eos_score",
    "model_reward",
    "normalized_match",
    "number_match",
    "outcome_of",
    "outcomes",
    "overlong_penalty",
    "parse_reward",
    "preferences",
    "rating_judge",
    "read_reward",
    "repetition_penalty",
    "rival_judge",
    "rubric_judge",
    "score",
    "soft_pessimism",
    "stated_confidence",
    "stopped",
    "target_instruction",
    "token_rewards",
    "wrong_reward",
]


def __getattr__(name: str) -> Any:
    """Imports one of the names that compute arrays."""
    if name in __all__:
        for part in _WITH_ARRAYS:
            module = importlib.import_module(f"jaxalign.rewards.{part}")
            if name in vars(module):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
