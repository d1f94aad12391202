"""KTO as an objective: its reference point is that of the whole batch."""

from jaxalign.losses import LossOutput, TwoPass, kto_loss, kto_reference_point
from jaxalign.objectives.batches import UnpairedBatch
from jaxalign.objectives.signatures import check_keywords
from jaxalign.objectives.stats import Backbone, packed_stats
from jaxalign.ops import Mean


def packed_kto_objective(
    backbone: Backbone, *, chunk_size: int = 512, **hyperparameters
) -> TwoPass:
    """KTO on `UnpairedBatch`.

    z₀ is the mean log-ratio of the answers that are not their prompt's, over all rows
    of the global batch: it is measured first, and then the loss may be split.

    Args:
      backbone: The model.
      chunk_size: Positions whose logits are held at a time.
      **hyperparameters: Those of `kto_loss`.

    Returns:
      An objective in two passes, with the metrics of `kto_loss`, `logits/chosen` and
      `logits/rejected`.

    Raises:
      UserError: If `kto_loss` lacks a keyword.
    """
    check_keywords(kto_loss, hyperparameters)
    stats_fn = packed_stats(backbone, chunk_size=chunk_size)

    def measure(params, batch: UnpairedBatch, key) -> Mean:
        del key
        pairs = batch.pairs
        logps = pairs.by_response(stats_fn(params, pairs.rows).logps)
        other = logps.rejected, pairs.ref_logps.rejected, pairs.mask.rejected
        return kto_reference_point(*other)

    def loss(params, batch: UnpairedBatch, key, z0: Mean, memory) -> LossOutput:
        del key, memory
        pairs, packed = batch.pairs, stats_fn(params, batch.rows)
        logps, mean_logits = (
            pairs.by_response(x).chosen
            for x in (packed.logps, packed.mean_logps + packed.logz)
        )
        mask, wanted = pairs.mask.chosen, batch.desirable
        ref = pairs.ref_logps.chosen
        out = kto_loss(logps, ref, mask, wanted, z0.value, **hyperparameters)
        metrics = {
            f"logits/{side}": Mean.of(mean_logits, where=mask & own[..., None])
            for side, own in (("chosen", wanted), ("rejected", ~wanted))
        }
        return LossOutput(out.loss, {**out.metrics, **metrics})

    return TwoPass(measure, loss)
