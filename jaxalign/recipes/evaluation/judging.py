"""A local checkpoint as judge."""

from pathlib import Path

import numpy as np

from jaxalign.data.encode import Encoder
from jaxalign.data.records import Message, PromptOnly
from jaxalign.errors import UserError
from jaxalign.recipes.evaluation.checkpoint import Checkpoint, Prompt, Sampling
from jaxalign.recipes.evaluation.journal import Line, number
from jaxalign.recipes.evaluation.measure import Estimator, Measure
from jaxalign.recipes.evaluation.scoring import Answers
from jaxalign.rewards import Completion, preferences
from jaxalign.rewards.judge import COMPARE, Respond

LONGEST_VERDICT = 256


def respond_of(judge: Checkpoint, batch_size: int) -> Respond:
    """The likeliest replies of a checkpoint, as chat where it has a template."""
    encoder = Encoder(judge.tokenizer, judge.policy.config.vocab_size)
    sampling = Sampling(LONGEST_VERDICT, 0.0, None, 1.0, 1, batch_size, 0)

    def respond(requests: list[str]) -> list[str]:
        chat = judge.tokenizer.template is not None
        prompts = [
            Prompt(
                encoder.prompt(
                    PromptOnly((Message("user", x),) if chat else x)
                ).tolist(),
                None,
                {},
                i,
            )
            for i, x in enumerate(requests)
        ]
        answers = judge.answers(prompts, sampling)
        return [x.completion for x in judge.completions(prompts, answers, 1)]

    return respond


def read_template(file: str | None) -> str:
    """The text of a prompt template, the built-in one by default."""
    if file is None:
        return COMPARE
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--judge-template {file}: cannot be read ({error}). Give a UTF-8 text "
            "file with {prompt}, {first} and {second} in it."
        ) from error


def judged(
    answers: Answers,
    respond: Respond,
    template: str,
    estimator: Estimator,
    journal: list[Line],
) -> dict[str, Measure]:
    """How often ours beat theirs, over both orders, and how often there is a verdict.

    Args:
      answers: Of both checkpoints.
      respond: The judge.
      template: What it is asked.
      estimator: For the intervals.
      journal: A line per answer, which gets its chance to win.

    Returns:
      Two measures.
    """
    assert answers.theirs is not None
    wins = preferences(
        respond,
        [_question(x) for x in answers.ours],
        [x.completion for x in answers.ours],
        [x.completion for x in answers.theirs],
        template=template,
    )
    for line, win in zip(journal, wins, strict=True):
        line["win_rate"] = number(win)
    found = {"win_rate/judge": wins, "judge/verdicts": np.isfinite(wins)}
    return {
        name: estimator.group_mean(name, answers.by_row(x)) for name, x in found.items()
    }


def _question(completion: Completion) -> str:
    """The conversation as text, without the marks of the policy's own template."""
    if completion.messages is None:
        return completion.prompt
    if len(completion.messages) == 1:
        return str(completion.messages[0]["content"])
    return "\n".join(f"{m['role']}: {m['content']}" for m in completion.messages)
