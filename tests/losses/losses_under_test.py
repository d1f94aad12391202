"""Every loss with a maker of random inputs: a new loss is one line in its family.

The losses on pairs alone are found by their signatures and need none.
"""

from jaxalign import losses
from tests.losses import policy_cases, preference_cases, reward_cases
from tests.losses.case import (
    Case,
    by_keyword,
    lengths_to_mask,
    logps,
    pair_inputs,
)

__all__ = ["CASES", "Case", "lengths_to_mask", "logps", "pair_inputs"]


def sft_inputs(rng, b, t):
    mask = lengths_to_mask(rng, b, t)
    return logps(rng, b, t), mask, 2 * logps(rng, b, t), -logps(rng, b, t)


def sft(*arrays, label_smoothing=0.1, z_loss=0.01):
    """With all its terms."""
    loss = by_keyword(losses.sft_loss, "mean_logps", "logz")
    return loss(*arrays, label_smoothing=label_smoothing, z_loss=z_loss)


CASES = {
    "sft": Case(
        sft, sft_inputs, (), {"label_smoothing": (0.0, 0.2), "z_loss": (0.0, 0.1)}
    ),
    **preference_cases.CASES,
    **policy_cases.CASES,
    **reward_cases.CASES,
}
