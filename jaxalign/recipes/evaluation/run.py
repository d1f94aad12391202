"""An evaluation from its settings to its results; one model is held at a time."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from jaxalign.data.text.clock import fix_clock
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.example import Example
from jaxalign.errors import UserError
from jaxalign.recipes.evaluation import measure
from jaxalign.recipes.evaluation.checkpoint import (
    Checkpoint,
    EvaluationSampling,
    Logps,
    as_examples,
    open_checkpoint,
)
from jaxalign.recipes.evaluation.claims import ClaimReading, open_reading
from jaxalign.recipes.evaluation.config import Config
from jaxalign.recipes.evaluation.journal import describe, keep
from jaxalign.recipes.evaluation.judging import judge_against, open_judge
from jaxalign.recipes.evaluation.knowing import (
    KNOWN,
    knowing,
    known_rows,
    with_known,
)
from jaxalign.recipes.evaluation.report import Results
from jaxalign.recipes.evaluation.reward_model import (
    evaluate_reward_model,
    is_reward_model,
)
from jaxalign.recipes.evaluation.rows import need_flags, open_reader
from jaxalign.recipes.evaluation.scoring import Written, score_completions
from jaxalign.recipes.inputs.display import tell_clock
from jaxalign.recipes.inputs.generation_settings import tell_unused
from jaxalign.recipes.inputs.rows import template_arguments
from jaxalign.recipes.runs.samples import sampling_shown
from jaxalign.recipes.scoring.judge_rewards import read_judge_template
from jaxalign.recipes.scoring.open_rewards import (
    log_rewards,
    open_reward_model,
    open_rewards,
)
from jaxalign.recipes.scoring.reward_checks import check_rewards
from jaxalign.rewards import Completion, Reward
from jaxalign.rewards.abstention import Outcome
from jaxalign.rewards.comparison import COMPARE
from jaxalign.rl import Prompt

_KNOWN_SEED = 0x4B4E


class Task(NamedTuple):
    """What the rows are good for.

    Attributes:
      examples: Rows with completions, encoded; may be empty.
      pairs: Whether they are preference pairs.
      prompts: What is to be completed; may be empty.
    """

    examples: list[Example]
    pairs: bool
    prompts: list[Prompt]


class Seen(NamedTuple):
    """What a checkpoint did with a task.

    Attributes:
      logps: Of the examples' trained tokens.
      texts: Its completions of the prompts.
      sampled: The model's completions as examples.
      sampled_logps: Of their tokens; empty where they say nothing about the KL.
    """

    logps: Logps
    texts: list[Completion]
    sampled: list[Example]
    sampled_logps: Logps


def evaluate(config: Config, console: Console) -> Results:
    """Measures all that rows and settings allow."""
    # First of all, so that both checkpoints read rows of the same time.
    fix_clock(config.template_time)
    if is_reward_model(config.model):
        found = evaluate_reward_model(config, console)
        return Results(_about(config), found, {}, {})
    # First, so that a mistake in one of them is told before a model is loaded.
    template_arguments(config.chat_template_kwargs)
    template = read_judge_template(config.judge_template, COMPARE)
    judge = open_judge(config)
    model = _open(config, config.model)
    rewards = _rewards(config, model)
    task = _read(config, model, console)
    reading = open_reading(rewards, config.confidence, config.known)
    check_rewards(rewards, task.prompts, config.data, in_run=False)
    reading.check(task.prompts)
    log_rewards(rewards, Path(config.output_dir))
    if task.prompts:
        why = f"completions are drawn as the flags say, at {config.temperature:g}"
        tell_unused(model.policy.folder, config.temperature, why, console)
    ours, fingerprint = _look(config, model, task), model.tokenizer.fingerprint
    del model  # its memory is for the next one
    theirs, known = None, config.known
    knows: list[Outcome | None] = []
    if config.ref:
        ref = _open(config, config.ref)
        if ref.tokenizer.fingerprint != fingerprint:
            raise UserError(
                f"--ref {config.ref}: its tokenizer or template is another one than "
                f"that of {config.model}, so their tokens cannot be compared. Use "
                "checkpoints of one family."
            )
        # With the model's own samples: the KL is an expectation under the model.
        theirs = _look(config, ref, task, sampled=ours.sampled)
        if config.known_by:
            knows = _known_by(config, config.known_by, ref, task.prompts, reading)
        del ref
    measures = _likelihoods(config, task, ours, theirs)
    results = Results(_about(config), measures, {}, {})
    if not task.prompts:
        return results
    written = Written(ours.texts, theirs.texts if theirs else None, config.num_samples)
    if config.known_by:
        known = KNOWN
        written = with_known(written, known_rows(knows, config.known_by))
    estimator = measure.Estimator(config.seed)
    journal = [describe(c) for c in ours.texts]
    found, best, scores = score_completions(written, rewards, estimator, journal)
    if judge:
        # What was sampled is kept, should the judge fail.
        keep(journal, Path(config.output_dir))
        # Opened last, when model and reference have left the memory.
        found |= judge_against(written, judge(), template, estimator, journal)
    told = knowing(written, reading, estimator, journal, scores=scores, known=known)
    keep(journal, Path(config.output_dir))
    return results._replace(
        measures=measures | found | told.measures,
        best_of_n=best,
        abstention=told.table,
        calibration=told.diagrams or None,
        abstains_by=reading.named,
    )


def _rewards(config: Config, model: Checkpoint) -> list[Reward]:
    rewards = open_rewards(
        config.reward, model.tokenizer, dtype=config.dtype, shown=True
    )
    if config.reward_model:
        reward = open_reward_model(
            config.reward_model, model.tokenizer, dtype=config.dtype, shown=True
        )
        rewards.append(dataclasses.replace(reward, name="reward_model"))
    return rewards


def _open(config: Config, name: str) -> Checkpoint:
    return open_checkpoint(name, dtype=config.dtype, chat_template=config.chat_template)


def _read(config: Config, model: Checkpoint, console: Console) -> Task:
    room = model.policy.config.max_positions
    encoder = Encoder(
        model.tokenizer,
        model.policy.config.vocab_size,
        template_kwargs=template_arguments(config.chat_template_kwargs),
        markers=config.markers_in_text,
    )
    tell_clock(model.tokenizer, console)
    reader = open_reader(config, encoder, console)
    asking = config.reward, config.reward_model, config.judge, config.confidence
    samples = any(asking)
    pairs = reader.form("preference")
    answered = pairs if pairs or samples else reader.form("sft")
    asked = reader.form("prompt", must=not answered) if samples else None
    if not answered and not asked:
        raise UserError(
            f"{config.data}: the rows hold no completions to measure. Let the model "
            "write some by adding --reward NAME, for example --reward stopped; or "
            "check --columns."
        )
    longest = min(config.max_length, room)
    examples = reader.examples(answered, longest) if answered else []
    # Behind every prompt there must be room for the longest completion.
    prompts = reader.prompts(asked, room - config.max_new_tokens) if asked else []
    if config.known:
        need_flags(prompts, config.known)
    return Task(examples, pairs is not None, prompts)


def _look(
    config: Config,
    checkpoint: Checkpoint,
    task: Task,
    sampled: list[Example] | None = None,
) -> Seen:
    """Lets a checkpoint score examples and the model's samples, and write its own."""
    size = config.batch_size
    # The likelihood of a reference is of no interest without pairs.
    examples = task.examples if sampled is None or task.pairs else []
    logps = checkpoint.logps(examples, size) if examples else []
    if not task.prompts:
        return Seen(logps, [], [], [])
    # 0 and -1 stand for all tokens, as in `generation_config.json`.
    top_k = config.top_k if config.top_k and config.top_k > 0 else None
    sampling = EvaluationSampling(
        config.max_new_tokens,
        config.temperature,
        top_k,
        config.top_p,
        config.num_samples,
        size,
        config.seed,
        config.stop,
    )
    total = len(task.prompts) * config.num_samples
    with sampling_shown(f"completions by {checkpoint.name}", total) as progress:
        drawn = checkpoint.sample(task.prompts, sampling, progress)
    keep = config.keep_special_tokens
    texts = checkpoint.completions(task.prompts, drawn, config.num_samples, keep)
    if sampled is None:
        sampled = as_examples(task.prompts, drawn, config.num_samples)
    # Only samples of the whole distribution are an unbiased estimate of its KL.
    whole = config.temperature > 0 and top_k is None and config.top_p == 1
    if not (whole and config.ref):
        return Seen(logps, texts, sampled, [])
    own = checkpoint.logps(sampled, size, config.temperature)
    return Seen(logps, texts, sampled, own)


def _known_by(
    config: Config,
    count: int,
    ref: Checkpoint,
    prompts: list[Prompt],
    reading: ClaimReading,
) -> list[Outcome | None]:
    """Outcomes of samples of the reference, drawn from its whole distribution."""
    sampling = EvaluationSampling(
        max_new_tokens=config.max_new_tokens,
        temperature=1.0,
        top_k=None,
        top_p=1.0,
        num_samples=count,
        batch_size=config.batch_size,
        # Else a model that is its own reference would be judged by the same draws.
        seed=config.seed + _KNOWN_SEED,
        stop=config.stop,
    )
    title = f"what {ref.name} knows, completions"
    with sampling_shown(title, len(prompts) * count) as progress:
        drawn = ref.sample(prompts, sampling, progress)
    texts = ref.completions(prompts, drawn, count, config.keep_special_tokens)
    return reading.outcomes(texts) or []


def _likelihoods(
    config: Config, task: Task, ours: Seen, theirs: Seen | None
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


def _about(config: Config) -> dict[str, object]:
    return {k: v for k, v in dataclasses.asdict(config).items() if v not in (None, ())}
