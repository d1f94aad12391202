"""Reward models as objectives: packed sequences, each scored at its end."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses import LossOutput
from jaxalign.objectives.batches import TokenBatch
from jaxalign.ops import Mean

ScoreLoss = Callable[[jax.Array, jax.Array, Mapping[str, jax.Array]], LossOutput]
"""`(scores, mask, labels) -> LossOutput`, all `[..., K]`: K answers, the best first."""


class RewardBatch(NamedTuple):
    """Packed rows of K answers to a prompt, with one slot at the end of each.

    Attributes:
      rows: The `TokenBatch`; `target_at` is where the last token of an answer lies.
      start: The slot of each answer, `[R, P, K]`.
      length: 1 where there is such an answer, else 0, `[R, P, K]`.
      labels: `[R, M]` by name, what the data says of each answer.
    """

    rows: TokenBatch
    start: jax.Array
    length: jax.Array
    labels: Mapping[str, jax.Array]

    @property
    def mask(self) -> jax.Array:
        """Which answers there are, `[R, P, K]` bool."""
        return self.length > 0

    def by_answer(self, per_slot: jax.Array) -> jax.Array:
        """`[R, M]` values of the slots -> of the answers `[R, P, K]`."""
        rows, slots = per_slot.shape
        at = jnp.minimum(self.start, slots - 1).reshape(rows, -1)
        return jnp.take_along_axis(per_slot, at, axis=1).reshape(self.start.shape)


def packed_reward_objective(
    loss_fn: ScoreLoss, score_fn: Callable[[Any, TokenBatch], jax.Array]
):
    """Any loss on scores, on `RewardBatch`.

    Args:
      loss_fn: See `ScoreLoss`.
      score_fn: `(params, TokenBatch) -> [R, M]`, what the scalar head reads at
        `target_at`.

    Returns:
      An objective with the metrics of `loss_fn` and of `score_extremes`.
    """

    def objective(params, batch: RewardBatch, key) -> LossOutput:
        del key
        scores = batch.by_answer(score_fn(params, batch.rows))
        labels = {name: batch.by_answer(x) for name, x in batch.labels.items()}
        return scored(loss_fn, scores, batch.mask, labels)

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
    better &= earlier
    if "score" in labels:
        truth = labels["score"]
        better &= truth[..., :, None] > truth[..., None, :]
    return jnp.where(better, margins, 0.0), better
