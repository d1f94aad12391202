"""`jaxalign kto`: alignment with single completions, desirable or undesirable."""

import dataclasses
from typing import Literal

from rich.console import Console

from jaxalign.data.packing.mismatch import with_mismatched
from jaxalign.data.text.example import Example
from jaxalign.losses import Objective, kto_loss
from jaxalign.objectives import kto_objective
from jaxalign.recipes.flags.config import WritingConfig
from jaxalign.recipes.flags.keyword_flags import with_keywords
from jaxalign.recipes.flags.loss_flags import checked
from jaxalign.recipes.inputs.packed import pack_rows
from jaxalign.recipes.inputs.rows import Rows, make_encoder, read_rows
from jaxalign.recipes.runs.finish import finish
from jaxalign.recipes.runs.fit import fit, held_out_means, start_state
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.recipes.runs.run import open_run
from jaxalign.recipes.runs.samples import sample_greedily
from jaxalign.recipes.scoring.ref_logps import score_reference
from jaxalign.training import make_optimizer
from jaxalign.training.stopping.exits import FINISHED

LEAST_BALANCE, MOST_BALANCE = 1.0, 1.5  # of good to bad weights, Eq. 8 of the paper


@dataclasses.dataclass(frozen=True, kw_only=True)
class KTOConfig(WritingConfig):
    """Kahneman-Tversky Optimization; rows have a label, or are pairs to be split."""

    ref: Literal["cached", "online"] = "cached"
    """Reference log-probs: computed once and kept on disk, or anew in each step."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        checked(kto_loss, self.keywords)


Config = with_keywords(KTOConfig, kto_loss)


def make_kto_objective(config: KTOConfig, policy: Policy) -> Objective:
    """What is minimised."""
    return kto_objective(
        policy.backbone,
        chunk_size=config.chunk_size,
        **config.keywords,
    )


def main(config: KTOConfig) -> int:
    """Trains a policy; returns the exit code."""
    with open_run(config) as run:
        policy = open_policy(config.model, **config.layout)
        encoder = make_encoder(config, policy.folder, policy.config)
        rows = read_rows(config, "unpaired", encoder, config.seed, run.console)
        tell_balance(config, rows.train, run.console)
        # Beside each completion stands one of another prompt: they give z₀.
        both = mismatched(config, rows, policy.config.max_positions)
        packed = pack_rows(config, both, devices=policy.row_devices)
        run.console.print(packed.describe(policy.row_devices))
        if config.dry_run:
            return FINISHED
        run.begin(policy, encoder.tokenizer, rows.fingerprints)

        params = policy.load()
        online = config.ref == "online"
        # Before `start_state`, which consumes the parameters.
        packed = score_reference(run, policy, params, packed, online=online)
        objective = make_kto_objective(config, policy)
        optimizer, rate = make_optimizer(config.optimizer, len(packed.train))
        state = start_state(run, policy, params, optimizer, len(packed.train))
        samples = sample_greedily(config, run, policy, encoder.tokenizer, rows)
        if run.is_new:
            samples.show(state.params, 0)
        state = fit(
            run,
            policy,
            policy.program.train(objective, optimizer, packed.microbatch_size),
            state,
            packed,
            learning_rate=rate,
            evaluate=held_out_means(run, policy, objective, packed),
            main_metric="kl",
        )

        samples.show(state.params, run.step)
        method = "Kahneman-Tversky Optimization (KTO)"
        finish(run, policy, state.params, method=method)
    return run.exit_code


def mismatched(config: KTOConfig, rows: Rows, room: int) -> Rows:
    """The rows, each with a second sequence: its prompt and another's completion."""
    # Each may fit into what the model reads, and the two of them not.
    most = min(config.max_length, room)

    def beside_others(examples: list[Example]) -> list[Example]:
        return with_mismatched(examples, max_length=most, seed=config.seed)

    return rows._replace(
        train=beside_others(rows.train), held_out=beside_others(rows.held_out)
    )


def tell_balance(config: KTOConfig, examples: list[Example], console: Console) -> None:
    """Says how many rows are desirable, and which weights would balance the kinds."""
    good = sum(bool(x.labels["desirable"][0]) for x in examples)
    bad = len(examples) - good
    console.print(f"{good} desirable and {bad} undesirable rows")
    weights = config.keywords
    weight = weights["undesirable_weight"] * bad
    balance = weights["desirable_weight"] * good / weight if weight else float("inf")
    if not LEAST_BALANCE <= balance <= MOST_BALANCE:
        hint = ""
        if good and bad:
            # The balance is weight x good / bad, if the other weight is 1.
            low, high = (x * bad / good for x in (LEAST_BALANCE, MOST_BALANCE))
            hint = f": --desirable-weight {low:.3g} to {high:.3g}, the other 1"
        console.print(
            f"desirable completions weigh {balance:.3g} times what undesirable ones "
            f"do; the paper keeps this between {LEAST_BALANCE:g} and "
            f"{MOST_BALANCE:g}{hint}",
            style="yellow",
        )
