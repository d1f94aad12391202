"""Supervised fine-tuning as an objective."""

from collections.abc import Callable
from typing import Any

import jax

from jaxalign.losses import LossOutput, sft_loss
from jaxalign.objectives.batches import TokenBatch, Tokens
from jaxalign.objectives.signatures import check_keywords
from jaxalign.objectives.stats import Backbone, limits, states_at_targets
from jaxalign.ops import Mean, TokenStats, fused_token_loss


def sft_objective(stats_fn: Callable[[Any, Tokens], TokenStats], **hyperparameters):
    """Supervised fine-tuning of any model, on `Tokens`.

    Args:
      stats_fn: `(params, Tokens) -> TokenStats`; see `logits_stats`.
      **hyperparameters: Those of `sft_loss`.

    Returns:
      An objective whose metrics are `mean_token_accuracy` and, if the statistics
      have it, `entropy`.

    Raises:
      UserError: If `sft_loss` lacks a keyword.
    """
    check_keywords(sft_loss, hyperparameters)

    def objective(params, batch: Tokens, key) -> LossOutput:
        del key
        return _sft(stats_fn(params, batch), batch.mask, hyperparameters)

    return objective


def packed_sft_objective(
    backbone: Backbone,
    *,
    chunk_size: int = 512,
    entropy: bool = False,
    **hyperparameters,
):
    """Supervised fine-tuning on `TokenBatch`, with the fused unembedding.

    Args:
      backbone: The model.
      chunk_size: Positions whose logits are held at a time.
      entropy: Whether to log the entropy, at the cost of a pass over the logits.
      **hyperparameters: Those of `sft_loss`.

    Returns:
      An objective with the metrics of `sft_objective`.

    Raises:
      UserError: If `sft_loss` lacks a keyword.
    """
    check_keywords(sft_loss, hyperparameters)

    def objective(params, batch: TokenBatch, key) -> LossOutput:
        del key
        states, head = states_at_targets(backbone, params, batch), backbone.head(params)
        return fused_token_loss(
            lambda stats, mask: _sft(stats, mask, hyperparameters),
            states,
            head.kernel,
            batch.target_ids,
            batch.target_mask,
            chunk_size=chunk_size,
            entropy=entropy,
            **limits(head),
        )

    return objective


def _sft(stats: TokenStats, mask: jax.Array, hyperparameters) -> LossOutput:
    out = sft_loss(
        stats.logps,
        mask,
        mean_logps=stats.mean_logps,
        logz=stats.logz,
        **hyperparameters,
    )
    metrics = {"mean_token_accuracy": Mean.of(stats.correct, where=mask)}
    if stats.entropy is not None:
        metrics["entropy"] = Mean.of(stats.entropy, where=mask)
    return LossOutput(out.loss, {**out.metrics, **metrics})
