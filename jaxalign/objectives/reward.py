"""Reward models as objectives: packed sequences, each scored at its end."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.batch import Batch, Tokens
from jaxalign.losses import LossOutput
from jaxalign.objectives.by_completion import by_completion
from jaxalign.ops import Mean

ScoreLoss = Callable[[jax.Array, jax.Array, Mapping[str, jax.Array]], LossOutput]
"""`(scores, mask, labels) -> LossOutput`, all `[..., K]`: K answers, the best first."""


def reward_objective(loss_fn: ScoreLoss, score_fn: Callable[[Any, Tokens], jax.Array]):
    """Any loss on scores, on batches with one slot at the end of each completion.

    Args:
      loss_fn: See `ScoreLoss`.
      score_fn: `(params, Tokens) -> [R, M]`, what the scalar head reads at
        `target_at`.

    Returns:
      An objective with the metrics of `loss_fn` and of `score_extremes`.
    """

    def objective(params, batch: Batch, key) -> LossOutput:
        del key
        scores = by_completion(batch, score_fn(params, batch.tokens), longest=1)
        mask = batch.length > 0
        return scored(loss_fn, scores[..., 0], mask, batch.per_completion)

    return objective


def scored(
    loss_fn: ScoreLoss,
    scores: jax.Array,
    mask: jax.Array,
    labels: Mapping[str, jax.Array],
) -> LossOutput:
    """The loss of some scores with all metrics; also for scores made elsewhere.

    Args:
      loss_fn: See `ScoreLoss`.
      scores: `[..., K]`, the best answer first.
      mask: `[..., K]` bool, which answers there are.
      labels: `[..., K]` by name.

    Returns:
      The loss, with the metrics of `loss_fn` and of `score_extremes`.
    """
    out = loss_fn(scores, mask, labels)
    return LossOutput(out.loss, {**out.metrics, **score_extremes(scores, mask)})


def score_extremes(scores: jax.Array, mask: jax.Array) -> dict[str, Mean]:
    """The lowest and the highest score among the answers to one prompt, over prompts.

    Of a whole batch they would depend on how it is split.

    Args:
      scores: `[..., K]`.
      mask: `[..., K]` bool, which answers there are.

    Returns:
      `min_reward` and `max_reward`.
    """
    scores = jax.lax.stop_gradient(scores)
    some = jnp.any(mask, axis=-1)
    lowest = jnp.min(scores, axis=-1, where=mask, initial=jnp.inf)
    highest = jnp.max(scores, axis=-1, where=mask, initial=-jnp.inf)
    return {
        "min_reward": Mean.of(jnp.where(some, lowest, 0.0), where=some),
        "max_reward": Mean.of(jnp.where(some, highest, 0.0), where=some),
    }


def compared(
    scores: jax.Array, mask: jax.Array, labels: Mapping[str, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Every answer's score less every other's.

    Args:
      scores: `[..., K]`, the best answer first.
      mask: `[..., K]` bool.
      labels: Of equal `score`s none is the better one.

    Returns:
      The differences `[..., K, K]`, and where there are both answers and the first is
      the better one, the same shape, bool.
    """
    k = scores.shape[-1]
    margins = scores[..., :, None] - scores[..., None, :]
    better = mask[..., :, None] & mask[..., None, :]
    earlier = jnp.broadcast_to(jnp.triu(jnp.ones((k, k), bool), 1), better.shape)
    # Each pair once, in the order in which the better one comes first.
    better &= earlier
    if "score" in labels:
        truth = labels["score"]
        better &= truth[..., :, None] > truth[..., None, :]
    return jnp.where(better, margins, 0.0), better
