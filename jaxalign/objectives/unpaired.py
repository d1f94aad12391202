"""KTO as an objective: its reference point is that of the whole batch."""

from jaxalign.batch import Batch
from jaxalign.losses import LossOutput, Objective, kto_loss, kto_reference_point
from jaxalign.objectives.by_completion import by_completion, completion_mask
from jaxalign.objectives.model import Model, token_statistics
from jaxalign.objectives.signatures import check_keywords
from jaxalign.ops import Mean


def kto_objective(
    model: Model, *, chunk_size: int = 512, **hyperparameters
) -> Objective:
    """KTO on completions with a label `desirable`, each beside one of another prompt.

    The first of an example's two sequences is its own prompt and completion, the second
    its prompt with the completion of another. z₀ is the mean log-ratio of the second
    ones over all rows of the global batch: it is measured first, and then the loss may
    be split.

    Args:
      model: As for `bind`.
      chunk_size: Positions whose logits are held at a time.
      **hyperparameters: Those of `kto_loss`.

    Returns:
      An objective that measures first, with the metrics of `kto_loss`,
      `logits/chosen` and `logits/rejected`.

    Raises:
      UserError: If `kto_loss` lacks a keyword.
    """
    check_keywords(kto_loss, hyperparameters)
    stats_fn = token_statistics(model, chunk_size=chunk_size)

    def side(batch: Batch, k: int, per_token):
        return by_completion(batch, per_token)[:, :, k]

    def measure(params, batch: Batch, key) -> Mean:
        del key
        logps = side(batch, 1, stats_fn(params, batch.tokens).logps)
        ref = side(batch, 1, batch.per_token["ref_logps"])
        return kto_reference_point(logps, ref, completion_mask(batch)[:, :, 1])

    def loss(params, batch: Batch, key, z0: Mean, carry) -> LossOutput:
        del key, carry
        stats = stats_fn(params, batch.tokens)
        logps, mean_logits, ref = (
            side(batch, 0, x)
            for x in (
                stats.logps,
                stats.mean_logps + stats.logz,
                batch.per_token["ref_logps"],
            )
        )
        mask = completion_mask(batch)[:, :, 0]
        wanted = batch.per_completion["desirable"][..., 0] > 0.5
        out = kto_loss(logps, ref, mask, wanted, z0.value, **hyperparameters)
        metrics = {
            f"logits/{name}": Mean.of(mean_logits, where=mask & own[..., None])
            for name, own in (("chosen", wanted), ("rejected", ~wanted))
        }
        return LossOutput(out.loss, {**out.metrics, **metrics})

    return Objective(loss, measure, reads=frozenset({"ref"}))
