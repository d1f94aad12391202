"""A local language model as judge: the rewards that ask it for grades and verdicts."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from jaxalign.data.records.record import Message, PromptOnly
from jaxalign.data.text.encode import Encoder
from jaxalign.errors import UserError
from jaxalign.models import resolve_model
from jaxalign.plain_files import UnreadableError, read_plain
from jaxalign.recipes.evaluation.checkpoint import (
    Checkpoint,
    EvaluationSampling,
    open_checkpoint,
)
from jaxalign.recipes.prompt import encode_prompts
from jaxalign.rewards import (
    Completion,
    abstention,
    abstention_judge,
    rating_judge,
)
from jaxalign.rewards import rival_judge as rival_judge_of
from jaxalign.rewards.abstention import Match
from jaxalign.rewards.comparison import COMPARE
from jaxalign.rewards.judge import ABSTAINS, GRADE, RATE
from jaxalign.rewards.requests import Respond

# Tokens of a reply: some reasons, and a verdict behind them.
LONGEST_VERDICT = 256
JUDGED_ABSTENTION = "judged_abstention"
JUDGES = ("judge", "rival_judge", JUDGED_ABSTENTION)
"""Rewards that a language model gives, by name."""


def respond_of(judge: Checkpoint, batch_size: int) -> Respond:
    """The likeliest replies of a checkpoint, as chat where it has a template."""
    encoder = Encoder(judge.tokenizer, judge.policy.config.vocab_size)
    chat = judge.tokenizer.template is not None
    sampling = EvaluationSampling(LONGEST_VERDICT, 0.0, None, 1.0, 1, batch_size, 0)

    def respond(requests: list[str]) -> list[str]:
        records = [PromptOnly((Message("user", x),) if chat else x) for x in requests]
        prompts, _ = encode_prompts(records, encoder)
        answers = judge.answers(prompts, sampling)
        return [x.completion for x in judge.completions(prompts, answers, 1)]

    return respond


def read_judge_template(file: str | None, default: str) -> str:
    """The text of a prompt template in a file."""
    if file is None:
        return default
    try:
        return read_plain(file).decode()
    except (OSError, UnreadableError, UnicodeDecodeError) as error:
        raise UserError(
            f"the judge's template {file} cannot be read ({error}). Give a UTF-8 text "
            "file that has a place for the prompt and for what is to be judged."
        ) from error


def question_of(completion: Completion) -> str:
    """The conversation as text, without the marks of the policy's own template."""
    if completion.messages is None:
        return completion.prompt
    # A question alone needs no word on who asks it.
    if len(completion.messages) == 1:
        return str(completion.messages[0]["content"])
    return "\n".join(f"{m['role']}: {m['content']}" for m in completion.messages)


def judges(dtype: str) -> dict[str, Callable[..., Any]]:
    """The rewards of `JUDGES`; the first call with a folder loads its model.

    Args:
      dtype: Type of the matrix products.
    """
    # Rewards that name the same folder share its weights.
    opened = functools.cache(functools.partial(open_checkpoint, dtype=dtype))

    def asked(model: str, batch_size: int) -> Respond:
        resolve_model(model)  # also without completions: is there such a folder?
        return lambda requests: respond_of(opened(model), batch_size)(requests)

    made = _judge(asked), _rival_judge(asked), _judged_abstention(asked)
    return dict(zip(JUDGES, made, strict=True))


Asked = Callable[[str, int], Respond]
"""From a folder and how many replies are computed at a time to the judge."""


def _judge(asked: Asked) -> Callable[..., Any]:
    def judge(
        completions: list[Completion],
        *,
        model: str,
        template: str | None = None,
        pattern: str | None = None,
        lowest: float = 1.0,
        highest: float = 10.0,
        batch_size: int = 16,
    ) -> list[float | None]:
        """The grade that a language model gives, as a share of its scale from 0 to 1.

        None where its reply holds no grade.

        Args:
          completions: What to judge.
          model: The judge's folder.
          template: A text file with {prompt} and {completion} that asks for a grade in
            double brackets; other columns of the row can stand in it too.
          pattern: Regular expression whose group 1 is the grade, for a template that
            asks for another form than double brackets. What the reply quotes from the
            completion does not count.
          lowest: The grade that becomes 0.
          highest: The grade that becomes 1.
          batch_size: Replies computed at a time.
        """
        grade = rating_judge(
            asked(model, batch_size),
            template=read_judge_template(template, RATE),
            pattern=GRADE if pattern is None else pattern,
            lowest=lowest,
            highest=highest,
        )
        return list(grade(_as_questions(completions)))  # pyright: ignore[reportArgumentType]

    return judge


def _rival_judge(asked: Asked) -> Callable[..., Any]:
    def rival_judge(
        completions: list[Completion],
        *,
        model: str,
        template: str | None = None,
        batch_size: int = 16,
    ) -> list[float | None]:
        """How probably a language model prefers a completion to others of its prompt.

        Each pair is shown in both orders. None where its replies hold no verdict, and
        for a completion without a rival, as those of held-out prompts are.

        Args:
          completions: What to judge, those of a prompt side by side.
          model: The judge's folder.
          template: A text file with {prompt}, {first} and {second} that asks for a
            verdict, [[A]], [[B]] or, for a tie, [[C]].
          batch_size: Replies computed at a time.
        """
        compare = rival_judge_of(
            asked(model, batch_size), template=read_judge_template(template, COMPARE)
        )
        return list(compare(_as_questions(completions)))  # pyright: ignore[reportArgumentType]

    return rival_judge


def _judged_abstention(asked: Asked) -> Callable[..., Any]:
    def judged_abstention(
        completions: list[Completion],
        *,
        model: str,
        template: str | None = None,
        correct: float = 1.0,
        abstain: float = 0.0,
        wrong: float = -1.0,
        column: str = "answer",
        match: Match = "contains",
        batch_size: int = 16,
    ) -> list[float]:
        """`abstention`, where a language model says what abstains.

        Args:
          completions: What to score.
          model: The judge's folder.
          template: A text file with {prompt} and {completion} that asks for a verdict,
            [[A]] if it answers, [[B]] if it abstains.
          correct: The reward of a right answer.
          abstain: Of none.
          wrong: Of a wrong one.
          column: Column with the accepted answer, or a list of them.
          match: normalized, contains or number, as for `abstention`.
          batch_size: Replies computed at a time.
        """
        detector = abstention_judge(
            asked(model, batch_size), template=read_judge_template(template, ABSTAINS)
        )
        return abstention(
            completions,
            correct=correct,
            abstain=abstain,
            wrong=wrong,
            column=column,
            match=match,
            detector=lambda x: detector(_as_questions(x)),
        )

    return judged_abstention


def _as_questions(completions: list[Completion]) -> list[Completion]:
    return [dataclasses.replace(x, prompt=question_of(x)) for x in completions]
