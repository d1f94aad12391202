"""Log-probabilities of every target under the reference, the policy as it was."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.data.packing.batches import Batches
from jaxalign.objectives import token_statistics
from jaxalign.recipes.inputs.packed import Packed
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.run import Run
from jaxalign.recipes.scoring import reference
from jaxalign.recipes.scoring.reference_shards import Shards
from jaxalign.training import Counted, chaos


def score_reference(
    run: Run, policy: Policy, params: Any, packed: Packed, *, online: bool
) -> Packed:
    """The batches, with the log-probabilities of all targets under the first policy.

    Args:
      run: Begun.
      policy: What is trained.
      params: Its first parameters.
      packed: Its batches get the column `ref_logps`.
      online: Score each batch anew in each step, in place of all once.
    """
    return (_online if online else _cached)(run, policy, params, packed)


def _scorer(run: Run, policy: Policy):
    stats = token_statistics(policy.backbone, chunk_size=run.config.chunk_size)
    return policy.program.map(lambda params, rows: stats(params, rows).logps)


def _online(run: Run, policy: Policy, params: Any, packed: Packed) -> Packed:
    """Each batch is scored on the devices by a copy of the first parameters."""
    # A copy: the step consumes the state, and the parameters with it.
    ref = policy.program.replicate(jax.tree.map(jnp.copy, params))
    scorer = _scorer(run, policy)

    def complete(batch):
        return batch.with_tokens(ref_logps=scorer(ref, batch.tokens))

    return packed._replace(complete=complete)


def _cached(run: Run, policy: Policy, params: Any, packed: Packed) -> Packed:
    """Every example is scored once; the scores are kept in the run folder."""
    program, scorer = policy.program, _scorer(run, policy)
    ref, folder = program.replicate(params), run.folder.path

    def scored(batches: Batches | None, name: str) -> Batches | None:
        if batches is None:
            return None
        # Each example once: later epochs read the same scores.
        c, once = run.config, batches.one_epoch()
        # All that a score depends on, down to its last bits.
        key = reference.fingerprint(
            model=run.fingerprints["model"],
            rows=batches.fingerprint,
            computed=(str(policy.model.dtype), c.attention, c.chunk_size, c.parallel),
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
            )
        title = f"reference log-probs of {name} rows, batches"
        with Counted(title, len(missing)) as seen:
            fresh = reference.score_each(
                lambda params, rows: program.rows(scorer(params, rows)),
                ref,
                (once[step] for step in seen.over(missing)),
                lambda batch: program.place(batch.tokens),
            )
            found |= _kept(run, shards, missing, fresh)
        logps: dict[int, np.ndarray] = {}
        for step in sorted(found):
            logps |= found[step]
        return batches.with_columns(ref_logps=logps)

    train = scored(packed.train, "train")
    assert train is not None
    return packed._replace(train=train, held_out=scored(packed.held_out, "held-out"))


def _kept(run: Run, shards: Shards, missing: list[int], fresh) -> dict[int, Any]:
    """Takes batch after batch as it is computed; what there is is never lost."""

    def save() -> bool:
        shards.flush()
        # The process may end: what is not in a shard is computed again.
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
