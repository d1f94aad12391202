"""What the reference, the policy as it was first, says of every target."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.progress import track

from jaxalign.data.packing.batches import Batches
from jaxalign.objectives import token_statistics
from jaxalign.recipes import reference
from jaxalign.recipes.method import Plan, Run


def score_reference(
    run: Run, params: Any, folder: Path, plan: Plan, *, online: bool
) -> Plan:
    """The plan, with the log-probabilities of all targets under the first policy.

    Args:
      run: The run.
      params: The first policy.
      folder: The run's.
      plan: Its batches get the column `ref_logps`.
      online: Score each batch anew in each step, in place of all once.
    """
    return (_online if online else _cached)(run, params, folder, plan)


def _scorer(run: Run):
    stats = token_statistics(run.policy.backbone, chunk_size=run.config.chunk_size)
    return run.program.map(lambda params, rows: stats(params, rows).logps)


def _online(run: Run, params: Any, folder: Path, plan: Plan) -> Plan:
    """Each batch is scored on the devices by a copy of the first parameters."""
    del folder
    # A copy: the step consumes the state, and the parameters with it.
    ref, scorer = run.program.spread(jax.tree.map(jnp.copy, params)), _scorer(run)

    def complete(batch):
        return batch.with_tokens(ref_logps=scorer(ref, batch.tokens))

    return plan._replace(complete=complete)


def _cached(run: Run, params: Any, folder: Path, plan: Plan) -> Plan:
    """Every example is scored once; the scores are kept in the run folder."""
    ref, scorer = run.program.spread(params), _scorer(run)

    def scored(batches: Batches | None, name: str) -> Batches | None:
        if batches is None:
            return None
        key = reference.fingerprint(
            model=run.fingerprints["model"],
            rows=batches.fingerprint,
            dtype=run.config.dtype,
        )
        file = folder / "cache" / f"ref_logps_{name}_{key}.npz"
        logps = reference.load(file, [x.index for x in batches.used()])
        if logps is None:
            once = batches.one_epoch()
            steps = track(range(len(once)), f"reference log-probs, {name} rows")
            logps = reference.score(
                lambda params, rows: run.program.rows(scorer(params, rows)),
                ref,
                (once[i] for i in steps),
                lambda batch: run.program.place(batch.tokens),
            )
            reference.save(file, logps)
        return batches.with_columns(ref_logps=logps)

    batches = scored(plan.batches, "train")
    assert batches is not None
    held_out = scored(plan.held_out, "held-out")
    return plan._replace(batches=batches, held_out=held_out)
