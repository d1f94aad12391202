"""`jaxalign dpo`: alignment with preferences, without a reward model."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.losses import is_batch_coupled
from jaxalign.objectives import bind, mean_logits
from jaxalign.recipes.command_line import peek
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.labels import check_label, check_ranks
from jaxalign.recipes.loss_flags import (
    Rows,
    checked,
    config_for,
    find_loss,
    hyperparameters,
    reads,
    rows_of,
)
from jaxalign.recipes.method import Method, Plan, Run
from jaxalign.recipes.policy import Policy
from jaxalign.recipes.ref_logps import score_reference
from jaxalign.recipes.rows import TrainingTask
from jaxalign.recipes.training_run import run_training

LABELLED = (
    ("reward_gap", "margin", "a `margin`"),
    ("win_rate", "win_rate", "`win_rate_chosen` and `win_rate_rejected`"),
)
"""Arguments of losses, the labels that they are, and where rows have those."""


class Kind(NamedTuple):
    """How a kind of rows is trained on.

    Attributes:
      task: As data is read.
      main_metric: Of the progress line.
      metrics: What is measured beside the loss's own.
    """

    task: TrainingTask
    main_metric: str
    metrics: tuple[Callable[..., Any], ...] = ()


KINDS: Mapping[Rows, Kind] = {
    "pairs": Kind("preference", "rewards/accuracies", (mean_logits,)),
    "rankings": Kind("rankings", "rewards/accuracies"),
    "answers": Kind("unpaired", "rewards/chosen"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreferenceConfig(TrainingConfig):
    """Alignment with preferences by `--loss`, whose keywords are flags too.

    Rows are pairs; for `plackett_luce_dpo_loss` and `infonca_loss` they are rankings of
    several answers, by `ranks` or `scores`, and for `bco_unpaired_loss` single answers
    with a `label`.
    """

    loss: str
    """A preference loss of `jaxalign.losses`; its keywords become flags."""
    ref: Literal["cached", "online"] = "cached"
    """Reference log-probs: computed once and kept on disk, or anew in each step."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        checked(find_loss(self.loss), self.hyperparameters)

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The keywords of the loss."""
        names = hyperparameters(find_loss(self.loss))
        return {name: getattr(self, name) for name in names}


def config_class(argv: list[str]) -> type:
    """The settings of the loss that flags or `--config FILE` name."""
    return config_for(peek(argv, "loss") or "dpo_loss", PreferenceConfig)


Config = config_class([])


def method_of(config: PreferenceConfig) -> Method:
    """What the settings ask for."""
    loss = find_loss(config.loss)
    rows = rows_of(loss)
    assert rows is not None
    kind = KINDS[rows]
    labels = {label: columns for name, label, columns in LABELLED if reads(loss, name)}

    def check(run: Run) -> None:
        for label, columns in labels.items():
            check_label(run, label, loss=config.loss, columns=columns)
        if rows == "rankings" and not reads(loss, "rewards"):
            examples = [*run.rows.train, *run.rows.held_out]
            check_ranks(examples, instead="choose --loss infonca_loss")

    def objective(policy: Policy):
        return bind(
            loss,
            policy.backbone,
            metrics=kind.metrics,
            chunk_size=config.chunk_size,
            **config.hyperparameters,
        )

    def prepare(run: Run, params: Any, folder: Path, plan: Plan) -> Plan:
        if is_batch_coupled(loss):
            refuse_parts(config.loss, run, plan)
        if reads(loss, "kl"):
            # A copy: the step consumes the state, and the parameters with it.
            ref = jax.tree.map(jnp.copy, params)
            plan = plan._replace(frozen=run.program.spread(ref))
        if not reads(loss, "ref"):
            return plan
        return score_reference(run, params, folder, plan, online=config.ref == "online")

    return Method(
        name=f"preference optimisation by `{config.loss}`",
        task=kind.task,
        main_metric=kind.main_metric,
        objective=objective,
        prepare=prepare,
        check=check,
    )


def main(config: PreferenceConfig) -> int:
    """Trains a policy; returns the exit code."""
    return run_training(config, method_of(config))


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
