"""Pairwise preference losses as objectives."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxalign.losses import LossOutput, Pair, dpo_loss
from jaxalign.objectives.batches import PairBatch, PreferenceBatch, Tokens
from jaxalign.objectives.running import RUNNING, as_objective
from jaxalign.objectives.signatures import array_names, check_reads, takes_ref
from jaxalign.objectives.stats import Backbone, Head, states_at_targets, stats_at
from jaxalign.ops import Mean, TokenStats, chunked_kl

EXTRAS = ("kl", "log_sum_squares", "reward_gap", "win_rate", *RUNNING)
"""What a loss may read beside log-probabilities, by the names of its arguments."""
READS = (("policy", "ref", "mask"), ("policy", "mask"))
"""What it reads by position."""
Running = Mapping[str, jax.Array]
"""Arguments of a loss that tell of the batches before."""


def preference_objective(
    loss_fn: Callable[..., LossOutput],
    stats_fn: Callable[[Any, Tokens], TokenStats],
    **hyperparameters,
) -> Any:
    """Any pairwise preference loss for any model, on `PreferenceBatch`.

    A loss is also given those of `RUNNING` that are among its arguments, unless they
    are among the keywords.

    Args:
      loss_fn: `(policy, ref, mask, **hyperparameters) -> LossOutput`, as `dpo_loss`; or
        without `ref`, as reference-free losses are.
      stats_fn: `(params, Tokens) -> TokenStats`; see `logits_stats`.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective with the metrics of `loss_fn`, `logits/chosen` and
      `logits/rejected`; a `TwoPass` if the loss reads the batches before.

    Raises:
      UserError: If the loss reads what the batch does not give, or lacks a keyword.
    """
    check_reads(loss_fn, *READS, more=RUNNING, hyperparameters=hyperparameters)
    loss_fn = functools.partial(loss_fn, **hyperparameters)

    def given(params, batch: PreferenceBatch, running: Running) -> LossOutput:
        stats = [stats_fn(params, tokens) for tokens in batch.tokens]
        logps = Pair(*(x.logps for x in stats))
        mean_logits = Pair(*(x.mean_logps + x.logz for x in stats))
        return _preference(loss_fn, batch, logps, mean_logits, running)

    return as_objective(loss_fn, given)


def packed_preference_objective(
    loss_fn: Callable[..., LossOutput],
    backbone: Backbone,
    *,
    chunk_size: int = 512,
    **hyperparameters,
) -> Any:
    """Any pairwise preference loss, on `PairBatch`.

    A loss is also given those of `EXTRAS` that are among its arguments: `kl`, the
    divergence of the reference's distribution from the policy's at each token,
    `log_sum_squares`, log Σ π², the records' labels, `margin` for `reward_gap` and
    `win_rate`, and those of `RUNNING`.

    Args:
      loss_fn: As for `preference_objective`.
      backbone: The model.
      chunk_size: Positions whose logits are held at a time.
      **hyperparameters: Those of `loss_fn`.

    Returns:
      An objective as from `preference_objective`. If `loss_fn` reads `kl`, its
      parameters are the pair of the policy's and the reference's.

    Raises:
      UserError: If the loss reads what the batch does not give, or lacks a keyword.
    """
    check_reads(loss_fn, *READS, more=EXTRAS, hyperparameters=hyperparameters)
    loss_fn = functools.partial(loss_fn, **hyperparameters)
    reads = [name for name in EXTRAS if name in array_names(loss_fn)]
    options = {"chunk_size": chunk_size}

    def given(params, batch: PairBatch, running: Running) -> LossOutput:
        rows, ref = batch.rows, None
        if "kl" in reads:
            params, ref = params
        states, head = states_at_targets(backbone, params, rows), backbone.head(params)
        packed = stats_at(states, head, rows, **options)
        logps, mean_logits = (
            batch.by_response(x)
            for x in (packed.logps, packed.mean_logps + packed.logz)
        )
        extras = {}
        if "kl" in reads:
            kl = _kl_from(backbone, ref, states, head, rows, chunk_size)
            extras["kl"] = batch.by_response(kl)
        if "log_sum_squares" in reads:
            # log Σ π² = log Σ exp(2z) − 2 log Σ exp(z), and nobody differentiates it.
            still, fixed = jax.lax.stop_gradient((states, head.kernel))
            head = head._replace(kernel=fixed)
            squares = stats_at(still, head, rows, temperature=0.5, **options).logz
            extras["log_sum_squares"] = batch.by_response(squares - 2 * packed.logz)
        if "reward_gap" in reads:
            extras["reward_gap"] = batch.labels["margin"].chosen
        if "win_rate" in reads:
            extras["win_rate"] = batch.labels["win_rate"]
        more = {**extras, **running}
        return _preference(loss_fn, batch, logps, mean_logits, more)

    return as_objective(loss_fn, given)


def dpo_objective(stats_fn: Callable[[Any, Tokens], TokenStats], **hyperparameters):
    """DPO for any model, on `PreferenceBatch`; the keywords are those of `dpo_loss`."""
    return preference_objective(dpo_loss, stats_fn, **hyperparameters)


def _preference(loss_fn, batch, logps: Pair, mean_logits: Pair, more):
    ref = (batch.ref_logps,) if takes_ref(loss_fn) else ()
    out = loss_fn(logps, *ref, batch.mask, **more)
    metrics = {
        f"logits/{side}": Mean.of(x, where=mask)
        for side, x, mask in zip(Pair._fields, mean_logits, batch.mask, strict=True)
    }
    return LossOutput(out.loss, {**out.metrics, **metrics})


def _kl_from(backbone: Backbone, ref, states, head: Head, rows, chunk_size: int):
    """KL(π_ref ‖ π) of the distributions at each target, `[R, M]`."""
    theirs = backbone.head(ref)
    return chunked_kl(
        states,
        head.kernel,
        states_at_targets(backbone, ref, rows),
        theirs.kernel,
        softcap=head.softcap,
        ref_softcap=theirs.softcap,
        vocab_size=head.vocab_size,
        chunk_size=chunk_size,
    ).from_ref
