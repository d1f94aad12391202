"""The rewards that a language model gives, as the command line knows them.

Each takes the judge as `respond`, whichever model that is; see `asking`.
"""

import dataclasses

from jaxalign.errors import UserError
from jaxalign.plain_files import UnreadableError, read_plain
from jaxalign.rewards import (
    Completion,
    abstention,
    abstention_judge,
    rating_judge,
    rival_judge,
    rubric_judge,
)
from jaxalign.rewards.abstention import Match
from jaxalign.rewards.comparison import COMPARE
from jaxalign.rewards.judge import ABSTAINS, GRADE, RATE
from jaxalign.rewards.requests import Respond
from jaxalign.rewards.rubric import RUBRIC, read_criteria


def rate(
    completions: list[Completion],
    *,
    respond: Respond,
    template: str | None = None,
    pattern: str | None = None,
    lowest: float = 1.0,
    highest: float = 10.0,
) -> list[float | None]:
    """The grade that a language model gives, as a share of its scale from 0 to 1.

    None where its reply holds no grade.

    Args:
      completions: What to judge.
      respond: The judge.
      template: A text file with {prompt} and {completion} that asks for a grade in
        double brackets; other columns of the row can stand in it too.
      pattern: Regular expression whose group 1 is the grade, for a template that
        asks for another form than double brackets. What the reply quotes from the
        completion does not count.
      lowest: The grade that becomes 0.
      highest: The grade that becomes 1.
    """
    grade = rating_judge(
        respond,
        template=read_judge_template(template, RATE),
        pattern=GRADE if pattern is None else pattern,
        lowest=lowest,
        highest=highest,
    )
    return list(grade(_as_questions(completions)))  # pyright: ignore[reportArgumentType]


def compare(
    completions: list[Completion], *, respond: Respond, template: str | None = None
) -> list[float | None]:
    """How probably a language model prefers a completion to others of its prompt.

    Each pair is shown in both orders. None where its replies hold no verdict, and
    for a completion without a rival, as those of held-out prompts are.

    Args:
      completions: What to judge, those of a prompt side by side.
      respond: The judge.
      template: A text file with {prompt}, {first} and {second} that asks for a
        verdict, [[A]], [[B]] or, for a tie, [[C]].
    """
    preferred = rival_judge(respond, template=read_judge_template(template, COMPARE))
    return list(preferred(_as_questions(completions)))  # pyright: ignore[reportArgumentType]


def rate_by_criteria(
    completions: list[Completion],
    *,
    respond: Respond,
    criteria: dict[str, str],
    template: str | None = None,
    lowest: float = 1.0,
    highest: float = 10.0,
) -> list[float | None]:
    """The weighted mean of a language model's grades by named criteria, from 0 to 1.

    None where its reply lacks the grade of one.

    Args:
      completions: What to judge.
      respond: The judge.
      criteria: Names and what they ask for; see `read_criteria`.
      template: A text file with {criteria}, {prompt} and {completion} that asks for a
        line with each name and its grade in double brackets; {form} shows them.
      lowest: The grade that becomes 0.
      highest: The grade that becomes 1.
    """
    grade = rubric_judge(
        respond,
        read_criteria(criteria),
        template=read_judge_template(template, RUBRIC),
        lowest=lowest,
        highest=highest,
    )
    return list(grade(_as_questions(completions)))  # pyright: ignore[reportArgumentType]


def abstain_by_judge(
    completions: list[Completion],
    *,
    respond: Respond,
    template: str | None = None,
    correct: float = 1.0,
    abstain: float = 0.0,
    wrong: float = -1.0,
    column: str = "answer",
    match: Match = "contains",
) -> list[float]:
    """`abstention`, where a language model says what abstains.

    Args:
      completions: What to score.
      respond: The judge.
      template: A text file with {prompt} and {completion} that asks for a verdict,
        [[A]] if it answers, [[B]] if it abstains.
      correct: The reward of a right answer.
      abstain: Of none.
      wrong: Of a wrong one.
      column: Column with the accepted answer, or a list of them.
      match: normalized, contains or number, as for `abstention`.
    """
    detector = abstention_judge(
        respond, template=read_judge_template(template, ABSTAINS)
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


JUDGED_ABSTENTION = "judged_abstention"
JUDGES = {
    "judge": (rate, RATE),
    "rival_judge": (compare, COMPARE),
    "rubric_judge": (rate_by_criteria, RUBRIC),
    JUDGED_ABSTENTION: (abstain_by_judge, ABSTAINS),
}
"""By the reward's name: what computes it, and what it asks unless a file says else."""


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


def _as_questions(completions: list[Completion]) -> list[Completion]:
    return [dataclasses.replace(x, prompt=question_of(x)) for x in completions]
