"""`jaxalign reward`: a scalar head on a language model, trained on judgements."""

import dataclasses
from typing import Any, Literal

import numpy as np
from rich.console import Console

from jaxalign.data.packing.order import permutation
from jaxalign.data.text.example import Example
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.errors import UserError
from jaxalign.losses import LossFn
from jaxalign.models import ModelConfig, PadToken, normalise_score
from jaxalign.objectives import ScoreLoss, reward_objective
from jaxalign.objectives.score_losses import (
    all_pairs_loss,
    order_loss,
    pair_loss,
    score_regression_loss,
)
from jaxalign.recipes.flags.config import TrainingConfig
from jaxalign.recipes.flags.keyword_flags import hyperparameters, with_keywords
from jaxalign.recipes.flags.paths import RowsAt
from jaxalign.recipes.inputs.labels import check_ranks
from jaxalign.recipes.inputs.packed import pack_rows
from jaxalign.recipes.inputs.rows import Rows, make_encoder, read_rows
from jaxalign.recipes.runs.finish import finish
from jaxalign.recipes.runs.fit import fit, start_state
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.recipes.runs.run import open_run
from jaxalign.recipes.scoring.reward_report import ScoreTable, held_out_scores
from jaxalign.recipes.scoring.scorer import ends, score_fn_of, scorer_of
from jaxalign.training import make_optimizer
from jaxalign.training.stopping.exits import FINISHED

TASKS: dict[str, Literal["preference", "rankings", "scored"]] = {
    "bradley_terry": "preference",
    "plackett_luce": "rankings",
    "kwise": "rankings",
    "regression": "scored",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardConfig(TrainingConfig):
    """Train a reward model: a scalar head on a language model."""

    loss: Literal["bradley_terry", "plackett_luce", "kwise", "regression"] = (
        "bradley_terry"
    )
    """Loss on pairs; on ranked lists, as orders or as all of their pairs; or on
    completions with a score."""
    samples: int = 2
    """Number of held-out rows to score before and after training, to look at."""
    normalize: Literal["none", "mean", "variance"] = "mean"
    """At the end, let the scores of reference completions have mean 0 (and variance 1,
    after which differences of scores are no log-odds any more)."""
    normalize_data: RowsAt | None = None
    """Rows with those completions, as `jaxalign sft` reads them: demonstrations, or
    completions of the policy; by default those that it was trained on."""
    normalize_rows: int = 1000
    """Number of those rows to score, chosen by the seed."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        try:
            pair_loss(**self.keywords)
        except ValueError as error:
            raise UserError(str(error)) from error
        self._check_that_all_count()
        if self.normalize_rows < 1:
            raise UserError(
                f"normalize_rows must be 1 or more, got {self.normalize_rows}"
            )

    def _check_that_all_count(self) -> None:
        """Refuses settings that nothing would read."""
        for name, default in hyperparameters(pair_loss).items():
            if self.loss != "bradley_terry" and self.keywords[name] != default:
                raise UserError(
                    f"{name} {self.keywords[name]:g} counts only in the loss of pairs: "
                    f"{self.loss} has none. Leave it out, or pass --loss bradley_terry."
                )
        if self.normalize_data is not None and self.normalize == "none":
            raise UserError(
                f"normalize_data {self.normalize_data} is read only to normalise "
                "scores, and normalize is none. Leave it out, or pass --normalize mean "
                "or variance."
            )


Config = with_keywords(RewardConfig, pair_loss)


def make_reward_objective(config: RewardConfig, policy: Policy) -> LossFn:
    """What is minimised."""
    return reward_objective(make_loss(config), score_fn_of(policy.model))


def main(config: RewardConfig) -> int:
    """Trains a reward model; returns the exit code."""
    with open_run(config) as run:
        policy = open_policy(config.model, head="score", **config.layout)
        encoder = make_encoder(config, policy.folder, policy.config)
        task, tokenizer = TASKS[config.loss], encoder.tokenizer
        scale = config.keywords["margin_scale"]
        margins = config.loss == "bradley_terry" and scale != 0
        rows = read_rows(
            config, task, encoder, config.seed, run.console, reads_margin=margins
        )
        check_judgements(config, rows)
        # Now: if these rows cannot be read, it shall not show after the training.
        reference = reference_rows(config, policy, rows, run.console)
        packed = pack_rows(config, rows, devices=policy.row_devices, read_ends=True)
        run.console.print(packed.describe(policy.row_devices))
        if config.dry_run:
            return FINISHED
        run.begin(policy, tokenizer, rows.fingerprints)

        params = policy.load(run.key)
        objective = make_reward_objective(config, policy)
        optimizer, rate = make_optimizer(config.optimizer, len(packed.train))
        state = start_state(run, policy, params, optimizer, len(packed.train))
        scorer = scorer_of(policy)
        table = ScoreTable(run, policy, tokenizer, rows, scorer)
        if run.is_new:
            table.show(state.params, 0)
        state = fit(
            run,
            policy,
            policy.program.train(objective, optimizer, packed.microbatch_size),
            state,
            packed,
            learning_rate=rate,
            evaluate=held_out_scores(run, rows.held_out, make_loss(config), scorer),
            # Where nothing is compared there is no accuracy.
            main_metric="loss" if config.loss == "regression" else "accuracy",
        )

        table.show(state.params, run.step)
        params, model, pad = state.params, policy.config, pad_token(policy, tokenizer)
        if reference:
            # `fit` gives one copy; the scorer takes parameters as they are trained.
            found = scorer(policy.program.replicate(params), ends(reference))
            model, params = normalised(config, model, params, found, run.console)
        if pad is None:
            run.console.print(
                "every special token may end a completion: transformers will score the "
                "exported model's inputs one at a time"
            )
        method = "reward modelling"
        finish(run, policy, params, method=method, config=model, pad=pad)
    return run.exit_code


def make_loss(config: RewardConfig) -> ScoreLoss:
    """The loss that the settings name."""
    pairs = pair_loss(**config.keywords)
    return {
        "bradley_terry": pairs,
        "plackett_luce": order_loss,
        "kwise": all_pairs_loss,
        "regression": score_regression_loss,
    }[config.loss]


def check_judgements(config: RewardConfig, rows: Rows) -> None:
    """Refuses what the loss is not defined for, naming the first such row."""
    if config.loss == "plackett_luce":
        instead = "pass --loss kwise, which leaves such pairs out"
        check_ranks(rows.all, instead=instead)
    for example in rows.all:
        margin = example.labels.get("margin")
        if config.keywords["margin_scale"] and margin is not None and margin.min() < 0:
            raise UserError(
                f"{example.where}: `margin` is {margin[0]:g}, below 0: the rejected "
                "completion would be the better one. Swap the sides, or pass "
                "--margin-scale 0 to leave margins out."
            )


def reference_rows(
    config: RewardConfig, policy: Policy, rows: Rows, console: Console
) -> list[Example]:
    """The rows whose completions shall have a mean score of 0."""
    examples = rows.train
    if config.normalize == "none":
        return []
    if config.normalize_data is not None:
        plain = dataclasses.replace(
            config,
            data=config.normalize_data,
            eval_data=None,
            eval_fraction=0.0,
            # These rows have columns of their own.
            format=None,
            conversational=None,
            columns=None,
        )
        encoder = make_encoder(plain, policy.folder, policy.config)
        examples = read_rows(plain, "sft", encoder, config.seed, console).train
    # By the seed, so that a resumed run scores the same rows.
    chosen = permutation(len(examples), config.seed, 0)[: config.normalize_rows]
    return [examples[i] for i in sorted(chosen.tolist())]


def normalised(
    config: RewardConfig, model: ModelConfig, params: Any, scores: np.ndarray, console
) -> tuple[ModelConfig, Any]:
    """The model whose scores of the reference rows have mean 0, perhaps variance 1."""
    mean, deviation = float(scores.mean()), float(scores.std())
    # Scores that are all equal have no deviation to divide by.
    scale = deviation if config.normalize == "variance" and deviation > 0 else 1.0
    console.print(
        f"scores of {len(scores)} reference completions: mean {mean:.4g}, deviation "
        f"{deviation:.4g}; exported as (score - {mean:.4g}) / {scale:.4g}"
    )
    return normalise_score(model, params, mean=mean, deviation=scale)


def pad_token(policy: Policy, tokenizer: Tokenizer) -> PadToken | None:
    """A special token that ends no completion: transformers finds the end by it.

    The tokenizer's own if it will do, else one that is called so, else any, the BOS
    last.
    """

    def rank(i: int):
        named = "pad" in tokenizer.token(i).lower()
        return i != tokenizer.pad_id, not named, i == tokenizer.bos_id, i

    limit = policy.config.vocab_size
    able = [i for i in tokenizer.special_ids - tokenizer.stop_ids if i < limit]
    best = min(able, key=rank, default=None)
    return None if best is None else PadToken(best, tokenizer.token(best))
