"""Losses on K answers to a prompt as objectives."""

import inspect
from collections.abc import Callable

from jaxalign.losses import LossOutput
from jaxalign.objectives.batches import RankedBatch
from jaxalign.objectives.stats import Backbone, packed_stats


def packed_ranked_objective(
    loss_fn: Callable[..., LossOutput],
    backbone: Backbone,
    *,
    chunk_size: int = 512,
    **hyperparameters,
):
    """A loss on the log-probabilities of K answers, on `RankedBatch`.

    Args:
      loss_fn: `(policy, ref, mask, **hyperparameters) -> LossOutput`, as
        `plackett_luce_dpo_loss`; or `(policy, ref, mask, rewards, ...)`, as
        `infonca_loss`.
      backbone: The model.
      chunk_size: Positions whose logits are held at a time.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `loss_fn`.
    """
    stats_fn = packed_stats(backbone, chunk_size=chunk_size)
    reads_rewards = "rewards" in inspect.signature(loss_fn).parameters

    def objective(params, batch: RankedBatch, key) -> LossOutput:
        del key
        logps = batch.by_answer(stats_fn(params, batch.rows).logps)
        ref = batch.by_answer(batch.target_ref_logps)
        given = (batch.rewards,) if reads_rewards else ()
        return loss_fn(logps, ref, batch.mask, *given, **hyperparameters)

    return objective
