"""Pairwise preference losses as objectives."""

import inspect
from collections.abc import Callable
from typing import Any

from jaxalign.losses import LossOutput, Pair, dpo_loss
from jaxalign.objectives.batches import PairBatch, PreferenceBatch, Tokens
from jaxalign.objectives.stats import Backbone, packed_stats
from jaxalign.ops import Mean, TokenStats


def preference_objective(
    loss_fn: Callable[..., LossOutput],
    stats_fn: Callable[[Any, Tokens], TokenStats],
    **hyperparameters,
):
    """Any pairwise preference loss for any model, on `PreferenceBatch`.

    Args:
      loss_fn: `(policy, ref, mask, **hyperparameters) -> LossOutput`, as `dpo_loss`; or
        without `ref`, as reference-free losses are.
      stats_fn: `(params, Tokens) -> TokenStats`; see `logits_stats`.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `loss_fn`, `logits/chosen` and
      `logits/rejected`.
    """

    def objective(params, batch: PreferenceBatch, key) -> LossOutput:
        del key
        stats = [stats_fn(params, tokens) for tokens in batch.tokens]
        logps = Pair(*(x.logps for x in stats))
        mean_logits = Pair(*(x.mean_logps + x.logz for x in stats))
        return _preference(loss_fn, batch, logps, mean_logits, hyperparameters)

    return objective


def packed_preference_objective(
    loss_fn: Callable[..., LossOutput],
    backbone: Backbone,
    *,
    chunk_size: int = 512,
    **hyperparameters,
):
    """Any pairwise preference loss, on `PairBatch`.

    Args:
      loss_fn: As for `preference_objective`.
      backbone: The model.
      chunk_size: Positions whose logits are held at a time.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `preference_objective`.
    """
    stats_fn = packed_stats(backbone, chunk_size=chunk_size)

    def objective(params, batch: PairBatch, key) -> LossOutput:
        del key
        packed = stats_fn(params, batch.rows)
        logps, mean_logits = (
            batch.by_response(x)
            for x in (packed.logps, packed.mean_logps + packed.logz)
        )
        return _preference(loss_fn, batch, logps, mean_logits, hyperparameters)

    return objective


def dpo_objective(stats_fn: Callable[[Any, Tokens], TokenStats], **hyperparameters):
    """DPO for any model, on `PreferenceBatch`; the keywords are those of `dpo_loss`."""
    return preference_objective(dpo_loss, stats_fn, **hyperparameters)


def takes_ref(loss_fn: Callable[..., LossOutput]) -> bool:
    """Whether a preference loss reads the reference, by its own signature.

    >>> takes_ref(dpo_loss)
    True
    """
    return "ref" in inspect.signature(loss_fn).parameters


def _preference(loss_fn, batch, logps: Pair, mean_logits: Pair, hyperparameters):
    ref = (batch.ref_logps,) if takes_ref(loss_fn) else ()
    out = loss_fn(logps, *ref, batch.mask, **hyperparameters)
    metrics = {
        f"logits/{side}": Mean.of(x, where=mask)
        for side, x, mask in zip(Pair._fields, mean_logits, batch.mask, strict=True)
    }
    return LossOutput(out.loss, {**out.metrics, **metrics})
