"""The losses of reward models on what a batch holds: scores, mask and labels."""

from collections.abc import Mapping

import jax

from jaxalign.losses import (
    LossOutput,
    Pair,
    bradley_terry_loss,
    kwise_loss,
    plackett_luce_loss,
    regression_loss,
)
from jaxalign.objectives.reward import ScoreLoss
from jaxalign.ops.checks import check_range


def pair_loss(*, margin_scale: float = 1.0, center: float = 0.0) -> ScoreLoss:
    """`bradley_terry_loss` of the first completion over the second.

    Args:
      margin_scale: Units of score by which a pair shall differ for each unit of its
        `margin`, ≥ 0.
      center: Weight of (s_chosen + s_rejected)², which keeps scores near 0; 0.01 is
        usual.

    Returns:
      A loss for `reward_objective`.

    Raises:
      ValueError: If a number is out of its range.
    """
    check_range("margin_scale", margin_scale, 0, float("inf"))
    check_range("center", center, 0, float("inf"))

    def loss(scores, mask, labels: Mapping[str, jax.Array]) -> LossOutput:
        margin = None
        if "margin" in labels and margin_scale:
            margin = margin_scale * labels["margin"][..., 0]
        pair = Pair(scores[..., 0], scores[..., 1])
        valid = mask[..., 0] & mask[..., 1]
        return bradley_terry_loss(pair, valid, margin=margin, center=center)

    return loss


def order_loss(scores, mask, labels: Mapping[str, jax.Array]) -> LossOutput:
    """`plackett_luce_loss` of the answers as they stand, the best first."""
    del labels
    return plackett_luce_loss(scores, mask)


def all_pairs_loss(scores, mask, labels: Mapping[str, jax.Array]) -> LossOutput:
    """`kwise_loss`: all pairs of answers to a prompt whose `score`s differ."""
    # Rank 1 is the best one, and the highest score is.
    return kwise_loss(scores, mask, ranks=-labels["score"])


def score_regression_loss(scores, mask, labels: Mapping[str, jax.Array]) -> LossOutput:
    """`regression_loss` towards the `score` of each answer."""
    return regression_loss(scores, labels["score"], mask)
