"""An evaluation from its settings to its results; one model is held at a time."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rich.console import Console

from jaxalign.data.encode import Encoder
from jaxalign.data.sequences import Example
from jaxalign.errors import UserError
from jaxalign.recipes.evaluation import measure
from jaxalign.recipes.evaluation.checkpoint import (
    Checkpoint,
    Logps,
    Prompt,
    Sampling,
    as_examples,
    open_checkpoint,
)
from jaxalign.recipes.evaluation.judging import judged, read_template, respond_of
from jaxalign.recipes.evaluation.report import Results
from jaxalign.recipes.evaluation.rows import need_column, open_reader
from jaxalign.recipes.scorer import load_scorer
from jaxalign.rewards import Completion, Reward, load_rewards, model_reward, score
from jaxalign.rewards.abstention import abstention, outcome_of

if TYPE_CHECKING:
    from jaxalign.recipes.evaluate import Config


class Task(NamedTuple):
    """What the rows are good for.

    Attributes:
      examples: Rows with answers, encoded; may be empty.
      pairs: Whether they are preference pairs.
      prompts: What is to be answered; may be empty.
    """

    examples: list[Example]
    pairs: bool
    prompts: list[Prompt]


class Seen(NamedTuple):
    """What a checkpoint did with a task.

    Attributes:
      logps: Of the examples' trained tokens.
      texts: Its answers to the prompts.
      sampled: The model's answers as examples.
      sampled_logps: Of their tokens; empty where they say nothing about the KL.
    """

    logps: Logps
    texts: list[Completion]
    sampled: list[Example]
    sampled_logps: Logps


def evaluate(config: "Config", console: Console) -> Results:
    """Measures all that rows and settings allow."""
    rewards, template = (
        load_rewards(config.reward),
        read_template(config.judge_template),
    )
    model = _open(config, config.model)
    task = _read(config, model, console)
    ours, fingerprint = _look(config, model, task), model.tokenizer.fingerprint
    del model  # its memory is for the next one
    theirs = None
    if config.ref:
        ref = _open(config, config.ref)
        if ref.tokenizer.fingerprint != fingerprint:
            raise UserError(
                f"--ref {config.ref}: its tokenizer or template is another one than "
                f"that of {config.model}, so their tokens cannot be compared. Use "
                "checkpoints of one family."
            )
        theirs = _look(config, ref, task, sampled=ours.sampled)
        del ref
    measures = _likelihoods(config, task, ours, theirs)
    results = Results(_about(config), measures, {}, {})
    if not task.prompts:
        return results
    if config.reward_model:
        name, scorer = "reward_model", load_scorer(config.reward_model)
        rewards.append(Reward(name, model_reward(scorer), time_limit=3600.0))
    return _with_scores(config, results, ours, theirs, rewards, template)


def _open(config: "Config", name: str) -> Checkpoint:
    return open_checkpoint(name, dtype=config.dtype, chat_template=config.chat_template)


def _read(config: "Config", model: Checkpoint, console: Console) -> Task:
    room = model.policy.config.max_positions
    reader = open_reader(
        config.data,
        Encoder(model.tokenizer, model.policy.config.vocab_size),
        console,
        columns=config.columns,
        format=config.format,
        limit=config.limit,
    )
    pairs, demonstrations = reader.form("preference"), reader.form("sft")
    answered = pairs or demonstrations
    samples = bool(config.reward or config.reward_model or config.judge)
    asked = reader.form("prompt", must=not answered) if samples else None
    if not answered and not asked:
        raise UserError(
            f"{config.data}: the rows hold no answers to measure. Let the model answer "
            "by adding --reward NAME, for example --reward stopped; or check --columns."
        )
    longest = min(config.max_length, room)
    examples = reader.examples(answered, longest) if answered else []
    prompts = reader.prompts(asked, room - config.max_new_tokens) if asked else []
    if config.known:
        need_column(prompts, config.known, "--known")
    return Task(examples, pairs is not None, prompts)


def _look(
    config: "Config",
    checkpoint: Checkpoint,
    task: Task,
    sampled: list[Example] | None = None,
) -> Seen:
    """Lets a checkpoint score the examples and the model's samples, and answer."""
    size = config.batch_size
    # The likelihood of a reference is of no interest without pairs.
    known = task.examples if sampled is None or task.pairs else []
    logps = checkpoint.logps(known, size) if known else []
    if not task.prompts:
        return Seen(logps, [], [], [])
    sampling = Sampling(
        config.max_new_tokens,
        config.temperature,
        config.top_k,
        config.top_p,
        config.num_samples,
        size,
        config.seed,
    )
    answers = checkpoint.answers(task.prompts, sampling)
    texts = checkpoint.completions(task.prompts, answers, config.num_samples)
    if sampled is None:
        sampled = as_examples(task.prompts, answers, config.num_samples)
    # Only samples of the whole distribution are an unbiased estimate of its KL.
    whole = config.temperature > 0 and config.top_k is None and config.top_p == 1
    if not (whole and config.ref):
        return Seen(logps, texts, sampled, [])
    own = checkpoint.logps(sampled, size, config.temperature)
    return Seen(logps, texts, sampled, own)


def _likelihoods(
    config: "Config", task: Task, ours: Seen, theirs: Seen | None
) -> dict[str, measure.Measure]:
    estimator, found = measure.Estimator(config.seed), {}
    if task.examples:
        found |= measure.likelihood(estimator, ours.logps)
    if task.pairs:
        base = theirs.logps if theirs else None
        found |= measure.preference(estimator, ours.logps, base, config.beta)
    if theirs and theirs.sampled_logps:
        found |= measure.divergence(
            estimator, ours.sampled_logps, theirs.sampled_logps, config.num_samples
        )
    return found


def _with_scores(
    config: "Config",
    results: Results,
    ours: Seen,
    theirs: Seen | None,
    rewards: list[Reward],
    template: str,
) -> Results:
    estimator, measures = measure.Estimator(config.seed), dict(results.measures)
    shape = -1, config.num_samples
    lengths = np.array([float(len(c.ids)) for c in ours.texts]).reshape(shape)
    stopped = np.array([float(c.stopped) for c in ours.texts]).reshape(shape)
    extra = {"completions/mean_length": lengths, "completions/stopped": stopped}
    best, lines = {}, [_line(c) for c in ours.texts]
    if rewards:
        scores = score(rewards, ours.texts)
        columns = {f"rewards/{k}/mean": v for k, v in scores.values.items()}
        columns |= {"reward": scores.total} if len(rewards) > 1 else {}
        extra = {k: v.reshape(shape) for k, v in columns.items()} | extra
        if config.num_samples > 1:
            best = measure.best_of(scores.total.reshape(shape))
        for i, line in enumerate(lines):
            line["rewards"] = {k: _number(v[i]) for k, v in scores.values.items()}
        if theirs:
            others = score(rewards, theirs.texts)
            measures["win_rate/reward"] = measure.win_rate(
                estimator,
                "win_rate/reward",
                scores.total.reshape(shape),
                others.total.reshape(shape),
            )
    for name, values in extra.items():
        measures[name] = estimator.group_mean(name, values)
    if theirs and config.judge:
        judge = respond_of(open_checkpoint(config.judge, dtype=config.dtype), 16)
        wins = judged(judge, ours.texts, theirs.texts, template)
        name = "win_rate/judge"
        measures[name] = estimator.group_mean(name, wins.reshape(shape))
        share = np.isfinite(wins).astype(float).reshape(shape)
        measures["judge/verdicts"] = estimator.group_mean("judge/verdicts", share)
        for line, win in zip(lines, wins, strict=True):
            line["win_rate"] = _number(win)
    if theirs:
        for line, other in zip(lines, theirs.texts, strict=True):
            line["ref_completion"] = other.completion
    _keep(lines, Path(config.output_dir))
    table = _abstention(rewards, ours.texts, config.known)
    return results._replace(measures=measures, best_of_n=best, abstention=table)


def _abstention(
    rewards: list[Reward], texts: list[Completion], known: str | None
) -> dict[str, dict[str, float]]:
    """The table of the first abstention reward, with its own parameters."""
    for reward in rewards:
        function = reward.function
        given = {}
        if isinstance(function, functools.partial):
            function, given = function.func, function.keywords
        if function is abstention:
            names = ("column", "match", "refusals")
            options = {k: v for k, v in given.items() if k in names}
            outcomes = [outcome_of(c, **options) for c in texts]
            return measure.abstention_table(outcomes, texts, known)
    return {}


def _about(config: "Config") -> dict[str, object]:
    return {k: v for k, v in dataclasses.asdict(config).items() if v not in (None, ())}


def _line(c: Completion) -> dict[str, object]:
    return {
        "row": c.index,
        "prompt": c.prompt,
        "completion": c.completion,
        "length": len(c.ids),
        "stopped": c.stopped,
    }


def _number(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None


def _keep(lines: list[dict[str, object]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines)
    (folder / "completions.jsonl").write_text(text, encoding="utf-8")
