"""What the reference, the policy as it was first, says of every target."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rich.progress
from rich.console import Console

from jaxalign.data.packing.batches import Batches
from jaxalign.objectives import token_statistics
from jaxalign.recipes import reference
from jaxalign.recipes.method import Plan, Run
from jaxalign.recipes.reference_shards import Shards
from jaxalign.training import chaos


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
        c, once = run.config, batches.one_epoch()
        key = reference.fingerprint(
            model=run.fingerprints["model"],
            rows=batches.fingerprint,
            computed=(c.dtype, c.attention, c.chunk_size, c.parallel),
            shapes=batches.plan,
        )
        shards = Shards(folder / "cache" / f"ref_logps_{name}_{key}", key)
        wanted = [
            [batches.layouts[i].index for i in once.examples_of(step)]
            for step in range(len(once))
        ]
        found = shards.read(wanted)
        missing = [step for step in range(len(once)) if step not in found]
        if found and missing:
            run.console.print(
                f"reference log-probs, {name} rows: {len(found)} of {len(once)} "
                "batches are there from before",
                highlight=False,
            )
        steps = track(missing, f"reference log-probs, {name} rows", run.console)
        fresh = reference.score_each(
            lambda params, rows: run.program.rows(scorer(params, rows)),
            ref,
            (once[step] for step in steps),
            lambda batch: run.program.place(batch.tokens),
        )
        found |= _kept(run, shards, missing, fresh)
        logps: dict[int, np.ndarray] = {}
        for step in sorted(found):
            logps |= found[step]
        return batches.with_columns(ref_logps=logps)

    batches = scored(plan.batches, "train")
    assert batches is not None
    held_out = scored(plan.held_out, "held-out")
    return plan._replace(batches=batches, held_out=held_out)


def _kept(run: Run, shards: Shards, missing: list[int], fresh) -> dict[int, Any]:
    """Takes batch after batch as it is computed; what there is is never lost."""

    def save() -> bool:
        shards.flush()
        return True

    found = {}
    try:
        with run.stop.rescued(save):
            for step, batch in zip(missing, fresh, strict=True):
                chaos.at("reference")
                found[step] = batch
                shards.add(step, batch)
    finally:
        shards.flush()
    return found


def track(steps: list[int], title: str, console: Console) -> Iterable[int]:
    """The steps, with a bar that shows how far they are."""
    return rich.progress.track(steps, title, console=console, disable=not steps)
