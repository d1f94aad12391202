"""`jaxalign dpo`: alignment with preference pairs, without a reward model."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from rich.progress import track

from jaxalign.data.batches import Batches
from jaxalign.errors import UserError
from jaxalign.losses import is_batch_coupled
from jaxalign.objectives import packed_preference_objective, packed_stats, takes_ref
from jaxalign.recipes import reference
from jaxalign.recipes.command_line import peek
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.loss_flags import (
    checked,
    config_for,
    find_loss,
    hyperparameters,
)
from jaxalign.recipes.method import Method, Plan, Run
from jaxalign.recipes.placing import pair_batch, token_batch
from jaxalign.recipes.policy import Policy
from jaxalign.recipes.training_run import run_training


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreferenceConfig(TrainingConfig):
    """Alignment with preference pairs by `--loss`, whose keywords are flags too."""

    loss: str
    """A pairwise loss of `jaxalign.losses`; its keywords become flags."""
    ref: Literal["cached", "online"] = "cached"
    """Reference log-probs: computed once and kept on disk, or anew in each step."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        checked(find_loss(self.loss), self.hyperparameters)

    @property
    def hyperparameters(self) -> dict[str, float]:
        """The keywords of the loss."""
        names = hyperparameters(find_loss(self.loss))
        return {name: getattr(self, name) for name in names}


def config_class(argv: list[str]) -> type:
    """The settings of the loss that flags or `--config FILE` name."""
    return config_for(peek(argv, "loss") or "dpo_loss", PreferenceConfig)


Config = config_class([])


def main(config: PreferenceConfig) -> int:
    """Trains a policy; returns the exit code."""
    loss = find_loss(config.loss)

    def objective(policy: Policy):
        return packed_preference_objective(
            loss,
            policy.backbone,
            chunk_size=config.chunk_size,
            **config.hyperparameters,
        )

    def prepare(run: Run, params: Any, folder: Path, plan: Plan) -> Plan:
        if is_batch_coupled(loss):
            refuse_parts(config.loss, run, plan)
        if not takes_ref(loss):
            return plan
        score = _online if config.ref == "online" else _cached
        return score(run, params, folder, plan)

    method = Method(
        name=f"preference optimisation by `{config.loss}`",
        task="preference",
        main_metric="rewards/accuracies",
        objective=objective,
        to_batch=pair_batch,
        prepare=prepare,
    )
    return run_training(config, method)


def refuse_parts(loss: str, run: Run, plan: Plan) -> None:
    """Refuses a run that would compute a batch-coupled loss in parts.

    Raises:
      UserError: With the setting that makes each update one part.
    """
    devices = run.program.row_devices
    if run.config.parallel == "pmap" and devices > 1:
        raise UserError(
            f"{loss} couples all pairs of a batch, and under pmap each of {devices} "
            "devices has a loss of its own. Use --parallel mesh, or another --loss."
        )
    most, at_a_time = max(plan.batches.plan.row_counts), plan.microbatch_size * devices
    if most > at_a_time:
        raise UserError(
            f"{loss} couples all pairs of a batch, but an update of {most} rows would "
            f"be computed {at_a_time} rows at a time. Pass --microbatch-size "
            f"{-(-most // devices)}, which takes more memory, or another --loss."
        )


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
