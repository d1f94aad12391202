"""Losses on one or more answers to a prompt, each with a label, as objectives."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxalign.losses import LossOutput
from jaxalign.objectives.batches import AnswerBatch
from jaxalign.objectives.running import RUNNING, as_objective
from jaxalign.objectives.signatures import array_names, check_reads
from jaxalign.objectives.stats import Backbone, packed_stats

LABELS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "rewards": lambda label: label,
    "desirable": lambda label: label > 0.5,
}
"""Arguments of losses, and how they follow from the batch's label."""


def packed_answers_objective(
    loss_fn: Callable[..., LossOutput],
    backbone: Backbone,
    *,
    chunk_size: int = 512,
    **hyperparameters,
) -> Any:
    """A loss on the log-probabilities of answers, on `AnswerBatch`.

    Args:
      loss_fn: `(policy, ref, mask, **hyperparameters) -> LossOutput` on K answers, the
        best first, as `plackett_luce_dpo_loss`; it is also given those of `LABELS` and
        of `RUNNING` that are among its arguments, as `infonca_loss` and
        `bco_unpaired_loss`.
      backbone: The model.
      chunk_size: Positions whose logits are held at a time.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `loss_fn`; a `TwoPass` if the loss reads the
      batches before.

    Raises:
      UserError: If the loss reads what the batch does not give, or lacks a keyword.
    """
    plain, more = ("policy", "ref", "mask"), (*LABELS, *RUNNING)
    check_reads(loss_fn, plain, more=more, hyperparameters=hyperparameters)
    loss_fn = functools.partial(loss_fn, **hyperparameters)
    stats_fn = packed_stats(backbone, chunk_size=chunk_size)
    labels = [name for name in array_names(loss_fn) if name in LABELS]

    def given(params, batch: AnswerBatch, running: Mapping[str, jax.Array]):
        logps = batch.by_answer(stats_fn(params, batch.rows).logps)
        ref = batch.by_answer(batch.target_ref_logps)
        more = {name: LABELS[name](batch.label) for name in labels}
        return loss_fn(logps, ref, batch.mask, **more, **running)

    return as_objective(loss_fn, given)
