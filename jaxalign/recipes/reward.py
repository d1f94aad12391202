"""`jaxalign reward`: a scalar head on a language model, trained on judged answers."""

import dataclasses
from typing import Any, Literal

from jaxalign.data.packing.batches import permutation
from jaxalign.data.text.example import Example
from jaxalign.errors import UserError
from jaxalign.models import PadToken, normalise_score
from jaxalign.objectives import ScoreLoss, reward_objective
from jaxalign.objectives.score_losses import (
    all_pairs_loss,
    order_loss,
    pair_loss,
    score_regression_loss,
)
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.labels import check_ranks
from jaxalign.recipes.method import Method, Outcome, Run
from jaxalign.recipes.paths import RowsAt
from jaxalign.recipes.policy import Policy
from jaxalign.recipes.reward_report import ScoreTable, held_out_scores, scorer_of
from jaxalign.recipes.rows import make_encoder, read_rows
from jaxalign.recipes.scorer import ends, score_fn_of
from jaxalign.recipes.training_run import run_training

TASKS: dict[str, Literal["preference", "rankings", "scored"]] = {
    "bradley_terry": "preference",
    "plackett_luce": "rankings",
    "kwise": "rankings",
    "regression": "scored",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainingConfig):
    """Train a reward model: a scalar head on a language model."""

    loss: Literal["bradley_terry", "plackett_luce", "kwise", "regression"] = (
        "bradley_terry"
    )
    """What it learns from: pairs; ranked lists, as orders or as all of their pairs; or
    answers with a score."""
    center: float = 0.0
    """Weight of (s_chosen + s_rejected)², which keeps scores near 0; 0.01 is usual."""
    margin_scale: float = 1.0
    """By how many units of score a pair shall differ for each unit of its `margin`."""
    normalize: Literal["none", "mean", "variance"] = "mean"
    """At the end, let the scores of reference answers have mean 0 (and variance 1,
    after which differences of scores are no log-odds any more)."""
    normalize_data: RowsAt | None = None
    """Rows whose answers those are, as `jaxalign sft` reads them: demonstrations, or
    answers of the policy; by default the answers that it was trained on."""
    normalize_rows: int = 1000
    """How many rows of them to score, chosen by the seed."""

    def __post_init__(self):
        """Refuses values that mean nothing, naming the value."""
        super().__post_init__()
        for name in ("center", "margin_scale"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.normalize_rows < 1:
            raise UserError(
                f"normalize_rows must be 1 or more, got {self.normalize_rows}"
            )


def method_of(config: Config) -> Method:
    """What the settings ask for."""
    loss_fn = make_loss(config)
    reference: list[Example] = []

    def objective(policy: Policy):
        return reward_objective(loss_fn, score_fn_of(policy.model))

    def check(run: Run) -> None:
        check_labels(run, config)
        reference.extend(reference_rows(run, config))

    def evaluate(run, plan, objective, place, stop, folder):
        del plan, objective, place
        return held_out_scores(run, loss_fn, stop, folder)

    return Method(
        name="reward modelling",
        task=TASKS[config.loss],
        main_metric="loss" if config.loss == "regression" else "accuracy",
        objective=objective,
        head="score",
        read_ends=True,
        check=check,
        samples=lambda run, folder: ScoreTable(run, folder / "completions"),
        evaluate=evaluate,
        finish=lambda run, params: finish(run, config, params, reference),
    )


def main(config: Config) -> int:
    """Trains a reward model; returns the exit code."""
    return run_training(config, method_of(config))


def make_loss(config: Config) -> ScoreLoss:
    """The loss that the settings name."""
    pairs = pair_loss(margin_scale=config.margin_scale, center=config.center)
    return {
        "bradley_terry": pairs,
        "plackett_luce": order_loss,
        "kwise": all_pairs_loss,
        "regression": score_regression_loss,
    }[config.loss]


def check_labels(run: Run, config: Config) -> None:
    """Refuses what the loss is not defined for, naming the first such row."""
    examples = [*run.rows.train, *run.rows.held_out]
    if config.loss == "plackett_luce":
        instead = "pass --loss kwise, which leaves such pairs out"
        check_ranks(examples, instead=instead)
    for example in examples:
        margin = example.labels.get("margin")
        if config.margin_scale and margin is not None and margin.min() < 0:
            raise UserError(
                f"{example.where}: `margin` is {margin[0]:g}, below 0: the rejected "
                "answer would be the better one. Swap the sides, or pass "
                "--margin-scale 0 to leave margins out."
            )


def reference_rows(run: Run, config: Config) -> list[Example]:
    """The rows whose answers shall have a mean score of 0."""
    rows = run.rows.train
    if config.normalize == "none":
        return []
    if config.normalize_data is not None:
        plain = dataclasses.replace(
            config,
            data=config.normalize_data,
            eval_data=None,
            eval_fraction=0.0,
            format=None,
            conversational=None,
            columns=None,
        )
        folder, size = run.policy.folder, run.policy.config.vocab_size
        encoder = make_encoder(plain, folder, size)
        rows = read_rows(plain, "sft", encoder, config.seed, run.console).train
    chosen = permutation(len(rows), config.seed, 0)[: config.normalize_rows]
    return [rows[i] for i in sorted(chosen.tolist())]


def finish(run: Run, config: Config, params: Any, reference: list[Example]) -> Outcome:
    """Normalises the scores, and finds a token to pad with."""
    model, pad = run.policy.config, pad_token(run)
    if reference:
        scorer = scorer_of(run)
        scores = scorer(run.program.spread(params), ends(reference))
        mean, deviation = float(scores.mean()), float(scores.std())
        scale = deviation if config.normalize == "variance" and deviation > 0 else 1.0
        model, params = normalise_score(model, params, mean=mean, deviation=scale)
        run.console.print(
            f"scores of {len(scores)} reference answers: mean {mean:.4g}, deviation "
            f"{deviation:.4g}; exported as (score - {mean:.4g}) / {scale:.4g}"
        )
    if pad is None:
        run.console.print(
            "every special token may end an answer: transformers will score the "
            "exported model's inputs one at a time"
        )
    return Outcome(model, params, pad)


def pad_token(run: Run) -> PadToken | None:
    """A special token that ends no answer: transformers finds an answer's end by it.

    The tokenizer's own if it will do, else one that is called so, else any, the BOS
    last.
    """
    tokenizer = run.tokenizer

    def rank(i: int):
        named = "pad" in tokenizer.token(i).lower()
        return i != tokenizer.pad_id, not named, i == tokenizer.bos_id, i

    limit = run.policy.config.vocab_size
    able = [i for i in tokenizer.special_ids - tokenizer.stop_ids if i < limit]
    best = min(able, key=rank, default=None)
    return None if best is None else PadToken(best, tokenizer.token(best))
