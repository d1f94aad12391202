"""The rewards that have a name on the command line.

Each is a reward function with keyword parameters; parameters that mean nothing are
refused even without a completion.
"""

from jaxalign.rewards.abstention import abstention
from jaxalign.rewards.calibration import brier, confidence_target, log_score
from jaxalign.rewards.length import length_penalty, overlong_penalty
from jaxalign.rewards.matching import contains_answer, exact_match, normalized_match
from jaxalign.rewards.number import number_match
from jaxalign.rewards.pattern import matches_pattern, stopped
from jaxalign.rewards.repetition import repetition_penalty

BUILT_IN = {
    function.__name__: function
    for function in (
        abstention,
        brier,
        confidence_target,
        contains_answer,
        exact_match,
        length_penalty,
        log_score,
        matches_pattern,
        normalized_match,
        number_match,
        overlong_penalty,
        repetition_penalty,
        stopped,
    )
}
"""The functions by name."""
