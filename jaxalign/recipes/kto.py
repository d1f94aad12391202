"""`jaxalign kto`: alignment with single answers that are good or bad."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from jaxalign.data.packing.mismatch import with_mismatched
from jaxalign.data.text.example import Example
from jaxalign.errors import UserError
from jaxalign.objectives import kto_objective
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.method import Method, Plan, Run
from jaxalign.recipes.policy import Policy
from jaxalign.recipes.ref_logps import score_reference
from jaxalign.recipes.rows import Rows
from jaxalign.recipes.training_run import run_training

LEAST_BALANCE, MOST_BALANCE = 1.0, 1.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Kahneman-Tversky Optimization; rows have a label, or are pairs to be split."""

    beta: float = 0.1
    """Strength of the pull towards the reference, > 0."""
    desirable_weight: float = 1.0
    """Of good answers."""
    undesirable_weight: float = 1.0
    """Of bad answers."""
    ref: Literal["cached", "online"] = "cached"
    """Reference log-probs: computed once and kept on disk, or anew in each step."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        if not self.beta > 0:
            raise UserError(f"beta must be positive, got {self.beta}")
        for name in ("desirable_weight", "undesirable_weight"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")


def method_of(config: Config) -> Method:
    """What the settings ask for."""

    def objective(policy: Policy):
        return kto_objective(
            policy.backbone,
            chunk_size=config.chunk_size,
            beta=config.beta,
            desirable_weight=config.desirable_weight,
            undesirable_weight=config.undesirable_weight,
        )

    def beside_others(rows: Rows) -> Rows:
        def arranged(examples: list[Example]) -> list[Example]:
            return with_mismatched(
                examples, max_length=config.max_length, seed=config.seed
            )

        return rows._replace(
            train=arranged(rows.train), held_out=arranged(rows.held_out)
        )

    def prepare(run: Run, params: Any, folder: Path, plan: Plan) -> Plan:
        online = config.ref == "online"
        return score_reference(run, params, folder, plan, online=online)

    return Method(
        name="Kahneman-Tversky Optimization (KTO)",
        task="unpaired",
        main_metric="kl",
        objective=objective,
        arrange=beside_others,
        prepare=prepare,
        check=tell_balance,
    )


def main(config: Config) -> int:
    """Trains a policy; returns the exit code."""
    return run_training(config, method_of(config))


def tell_balance(run: Run) -> None:
    """Says how many answers are good, and which weights would balance the two kinds."""
    config: Any = run.config
    good = sum(bool(x.labels["desirable"][0]) for x in run.rows.train)
    bad = len(run.rows.train) - good
    run.console.print(f"{good} desirable and {bad} undesirable rows", highlight=False)
    weight = config.undesirable_weight * bad
    balance = config.desirable_weight * good / weight if weight else float("inf")
    if not LEAST_BALANCE <= balance <= MOST_BALANCE:
        hint = ""
        if good and bad:
            low, high = (x * bad / good for x in (LEAST_BALANCE, MOST_BALANCE))
            hint = f": --desirable-weight {low:.3g} to {high:.3g}, the other 1"
        run.console.print(
            f"good answers weigh {balance:.3g} times what bad ones do; the paper keeps "
            f"this between {LEAST_BALANCE:g} and {MOST_BALANCE:g}{hint}",
            style="yellow",
            highlight=False,
        )
