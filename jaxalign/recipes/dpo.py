"""`jaxalign dpo`: alignment with preference pairs, without a reward model."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from rich.progress import track

from jaxalign.data.batches import Batches
from jaxalign.errors import UserError
from jaxalign.losses import dpo_loss
from jaxalign.objectives import packed_preference_objective, packed_stats
from jaxalign.recipes import reference
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.method import Method, Plan, Run
from jaxalign.recipes.placing import pair_batch, token_batch
from jaxalign.recipes.policy import Policy
from jaxalign.recipes.training_run import run_training


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Direct Preference Optimization on preference pairs."""

    beta: float = 0.1
    """Strength of the pull towards the reference; small is weak."""
    label_smoothing: float = 0.0
    """Probability that a label is the wrong way round (conservative DPO)."""
    ref: Literal["cached", "online"] = "cached"
    """Reference log-probs: computed once and kept on disk, or anew in each step."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        if not self.beta > 0:
            raise UserError(f"beta must be positive, got {self.beta}")
        if not 0 <= self.label_smoothing < 0.5:
            raise UserError(
                f"label_smoothing must be in [0, 0.5), got {self.label_smoothing}"
            )


def main(config: Config) -> int:
    """Trains a policy; returns the exit code."""

    def objective(policy: Policy):
        return packed_preference_objective(
            dpo_loss,
            policy.backbone,
            chunk_size=config.chunk_size,
            beta=config.beta,
            label_smoothing=config.label_smoothing,
        )

    method = Method(
        name="Direct Preference Optimization",
        task="preference",
        main_metric="rewards/accuracies",
        objective=objective,
        to_batch=pair_batch,
        prepare=_online if config.ref == "online" else _cached,
    )
    return run_training(config, method)


def _scorer(run: Run):
    stats = packed_stats(run.policy.backbone, chunk_size=run.config.chunk_size)
    return run.program.map(lambda params, rows: stats(params, rows).logps)


def _online(run: Run, params: Any, folder: Path, plan: Plan) -> Plan:
    """Each batch is scored on the devices by a copy of the first parameters."""
    del folder
    # A copy: the step consumes the state, and the parameters with it.
    ref, scorer = run.program.spread(jax.tree.map(jnp.copy, params)), _scorer(run)

    def complete(batch):
        return batch._replace(target_ref_logps=scorer(ref, batch.rows))

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
                lambda batch: run.program.place(token_batch(batch)),
            )
            reference.save(file, logps)
        return batches.with_columns(ref_logps=logps)

    batches = scored(plan.batches, "train")
    assert batches is not None
    held_out = scored(plan.held_out, "held-out")
    return plan._replace(batches=batches, held_out=held_out)
