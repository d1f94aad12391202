"""`jaxalign dpo`: alignment with preferences, without a reward model."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.losses import Objective
from jaxalign.objectives import bind, mean_logits
from jaxalign.recipes.flags.command_line import peek
from jaxalign.recipes.flags.config import WritingConfig
from jaxalign.recipes.flags.loss_flags import (
    RowKind,
    checked,
    config_for,
    find_loss,
    rows_of,
)
from jaxalign.recipes.inputs.labels import check_label, check_ranks
from jaxalign.recipes.inputs.packed import Packed, pack_rows
from jaxalign.recipes.inputs.rows import Rows, TrainingTask, make_encoder, read_rows
from jaxalign.recipes.runs.finish import finish
from jaxalign.recipes.runs.fit import fit, held_out_means, start_state
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.recipes.runs.run import open_run
from jaxalign.recipes.runs.samples import sample_greedily
from jaxalign.recipes.scoring.ref_logps import score_reference
from jaxalign.training import make_optimizer
from jaxalign.training.stopping.exits import FINISHED

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


KINDS: Mapping[RowKind, Kind] = {
    "pairs": Kind("preference", "rewards/accuracies", (mean_logits,)),
    "rankings": Kind("rankings", "rewards/accuracies"),
    "completions": Kind("unpaired", "rewards/chosen"),
}


def row_kind(loss: Callable[..., Any]) -> Kind:
    """The kind of rows that a loss is trained on."""
    rows = rows_of(loss)
    # All others are refused by `find_loss`.
    assert rows is not None
    return KINDS[rows]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreferenceConfig(WritingConfig):
    """Alignment with preferences by `--loss`, whose keywords are flags too.

    Rows are pairs; for `plackett_luce_dpo_loss` and `infonca_loss` they are rankings of
    several completions, by `ranks` or `scores`, and for `bco_unpaired_loss` single ones
    with a `label`.
    """

    loss: str
    """A preference loss of `jaxalign.losses`; its keywords become flags."""
    ref: Literal["cached", "online"] = "cached"
    """Reference log-probs: computed once and kept on disk, or anew in each step."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        checked(find_loss(self.loss), self.keywords)


def config_class(argv: list[str]) -> type:
    """The settings of the loss that flags or `--config FILE` name."""
    # The loss decides which flags there are, so it is read before all of them.
    return config_for(peek(argv, "loss") or "dpo_loss", PreferenceConfig)


# With the keywords of the default loss, for whoever imports the module.
Config = config_class([])


def make_preference_objective(config: PreferenceConfig, policy: Policy) -> Objective:
    """What is minimised."""
    loss = find_loss(config.loss)
    return bind(
        loss,
        policy.backbone,
        metrics=row_kind(loss).metrics,
        chunk_size=config.chunk_size,
        **config.keywords,
    )


def main(config: PreferenceConfig) -> int:
    """Trains a policy; returns the exit code."""
    kind = row_kind(find_loss(config.loss))
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        encoder = make_encoder(config, policy.folder, policy.config)
        objective = make_preference_objective(config, policy)
        rows = read_rows(
            config,
            kind.task,
            encoder,
            config.seed,
            run.console,
            reads_margin="reward_gap" in objective.reads,
        )
        check_preferences(config, rows, objective.reads)
        packed = pack_rows(config, rows, devices=policy.row_devices)
        run.console.print(packed.describe(policy.row_devices))
        if objective.batch_coupled:
            refuse_parts(config, packed, policy.row_devices)
        if config.dry_run:
            return FINISHED
        run.begin(policy, encoder.tokenizer, rows.fingerprints)

        params, ref = policy.load(), None
        # That KL is between whole distributions, which no column of a batch can hold.
        if "kl" in objective.reads:
            # A copy: the step consumes the state, and the parameters with it.
            ref = policy.program.replicate(jax.tree.map(jnp.copy, params))
        # Before there is a state, which consumes the parameters.
        if "ref" in objective.reads:
            online = config.ref == "online"
            packed = score_reference(run, policy, params, packed, online=online)
        optimizer, rate = make_optimizer(config.optimizer, len(packed.train))
        carry = objective.carry
        state = start_state(run, policy, params, optimizer, len(packed.train), carry)
        samples = sample_greedily(config, run, policy, encoder.tokenizer, rows)
        if run.is_new:
            samples.show(state.params, 0)
        state = fit(
            run,
            policy,
            policy.program.train(objective, optimizer, packed.microbatch_size, ref),
            state,
            packed,
            learning_rate=rate,
            evaluate=held_out_means(run, policy, objective, packed, ref),
            main_metric=kind.main_metric,
        )

        samples.show(state.params, run.step)
        method = f"preference optimisation by `{config.loss}`"
        finish(run, policy, state.params, method=method)
    return run.exit_code


def check_preferences(
    config: PreferenceConfig, rows: Rows, reads: frozenset[str]
) -> None:
    """Refuses rows without what the loss reads, before any weight is loaded."""
    for name, label, columns in LABELLED:
        if name in reads:
            check_label(rows.all, label, loss=config.loss, columns=columns)
    ranked = rows_of(find_loss(config.loss)) == "rankings"
    # A loss that reads the scores themselves is defined for ties too.
    if ranked and "rewards" not in reads:
        check_ranks(rows.all, instead="choose --loss infonca_loss")


def refuse_parts(config: PreferenceConfig, packed: Packed, devices: int) -> None:
    """Refuses a run that would compute a batch-coupled loss in parts.

    Raises:
      UserError: With the setting that makes each update one part.
    """
    loss = config.loss
    if config.parallel == "pmap" and devices > 1:
        raise UserError(
            f"{loss} couples all pairs of a batch, and under pmap each of {devices} "
            "devices has a loss of its own. Use --parallel mesh, or another --loss."
        )
    plans = [x.plan for x in (packed.train, packed.held_out) if x is not None]
    # The largest batch decides: if it is one part, every other one is.
    most = max(max(x.row_counts) for x in plans)
    at_a_time = min(x.at_a_time or most for x in plans)
    if most > at_a_time:
        raise UserError(
            f"{loss} couples all pairs of a batch, but one of {most} rows would be "
            f"computed {at_a_time} rows at a time. Pass --microbatch-size "
            f"{-(-most // devices)}, which takes more memory, or another --loss."
        )
