"""A language model so small that all its responses can be listed.

Optimum, KL divergence, frontier, best-of-n law and every expectation are finite sums
here, so that a method can be compared with what it should have reached. Everything
means to run in float64: call it under `jax.enable_x64(True)`.
"""

from experiments.enumlm.exact import (
    Evaluation,
    best_of_n_logps,
    checked_numbers,
    evaluate,
    expected,
    frontier_reward,
    kl_divergence,
    objective,
    optimum,
    repeated_share,
)
from experiments.enumlm.expectation import expected_loss, expected_loss_of_groups
from experiments.enumlm.policy import (
    logits_of,
    response_logps,
    sample,
    state_logps,
    tabular,
    token_logps,
)
from experiments.enumlm.preferences import (
    count_preferences,
    draw_preferences,
    population_preferences,
    preference_loss,
    preferences_of,
)
from experiments.enumlm.responses import Responses, list_responses
from experiments.enumlm.training import (
    PairLoss,
    Steps,
    Trained,
    logged,
    train_exactly,
    train_on_pairs,
)
from experiments.enumlm.world import World, make_world, standardised

__all__ = [
    "Evaluation",
    "PairLoss",
    "Responses",
    "Steps",
    "Trained",
    "World",
    "best_of_n_logps",
    "checked_numbers",
    "count_preferences",
    "draw_preferences",
    "evaluate",
    "expected",
    "expected_loss",
    "expected_loss_of_groups",
    "frontier_reward",
    "kl_divergence",
    "list_responses",
    "logged",
    "logits_of",
    "make_world",
    "objective",
    "optimum",
    "population_preferences",
    "preference_loss",
    "preferences_of",
    "repeated_share",
    "response_logps",
    "sample",
    "standardised",
    "state_logps",
    "tabular",
    "token_logps",
    "train_exactly",
    "train_on_pairs",
]
