"""Answers compared with the accepted ones of a column."""

import re
import string
from collections.abc import Callable

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(
    completions: list[Completion], *, column: str = "answer"
) -> list[float | None]:
    """1 if the completion is an accepted answer, but for white space around it, else 0.

    Args:
      completions: What to score.
      column: Column with the accepted answer, or a list of them; None there: not
        applicable.

    Returns:
      1, 0 or None for each.

    >>> exact_match([Completion("2 + 2?", " 4", columns={"answer": ["4", "four"]})])
    [1.0]
    """
    return graded(completions, column, lambda text, answer: text == answer.strip())


def normalized_match(
    completions: list[Completion], *, column: str = "answer"
) -> list[float | None]:
    """1 if the completion is an accepted answer as `normalized` sees it, else 0.

    Args:
      completions: What to score.
      column: Column with the accepted answer, or a list of them; None there: not
        applicable.

    Returns:
      1, 0 or None for each.

    >>> normalized_match([Completion("Where?", "The USA.", columns={"answer": "USA"})])
    [1.0]
    """
    return graded(completions, column, is_same)


def contains_answer(
    completions: list[Completion], *, column: str = "answer"
) -> list[float | None]:
    """1 if an accepted answer stands in the completion as whole words, else 0.

    Both are normalised first. A completion that lists every possible answer is right by
    this measure, so use it with a limit on length.

    Args:
      completions: What to score.
      column: Column with the accepted answer, or a list of them; None there: not
        applicable.

    Returns:
      1, 0 or None for each.

    >>> contains_answer([Completion("?", "It's the USA!", columns={"answer": "USA"})])
    [1.0]
    """
    return graded(completions, column, is_contained)


def normalized(text: str) -> str:
    """SQuAD's normalisation: small letters, no punctuation, no articles, single blanks.

    The order of steps is that of the evaluation script of Rajpurkar et al.
    (https://arxiv.org/abs/1606.05250).

    >>> normalized("  The  U.S.A., a land!")
    'usa land'
    """
    text = text.lower().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def is_same(text: str, answer: str) -> bool:
    """Whether the two are equal when normalised, and anything is left of them."""
    return normalized(text) == normalized(answer) != ""


def is_contained(text: str, answer: str) -> bool:
    """Whether the words of `answer` stand in `text`, in order and side by side."""
    answer = normalized(answer)
    return bool(answer) and f" {answer} " in f" {normalized(text)} "


def graded(
    completions: list[Completion], column: str, is_right: Callable[[str, str], bool]
) -> list[float | None]:
    """1 where `is_right(completion, answer)` for an accepted answer, else 0; or None.

    Args:
      completions: What to grade; white space around them is removed.
      column: Column with the accepted answer, or a list of them.
      is_right: Compares two texts.

    Returns:
      None where the column holds None.

    Raises:
      UserError: A row has no such column, or what it holds is no text.
    """
    values: list[float | None] = []
    for completion in completions:
        answers = accepted_answers(completion, column)
        text = completion.completion.strip()
        right = None if answers is None else any(is_right(text, a) for a in answers)
        values.append(None if right is None else float(right))
    return values


def accepted_answers(completion: Completion, column: str) -> list[str] | None:
    """The accepted answers of a row: a text, a number, or a list of such; or None."""
    value = completion.columns.get(column, ...)
    if value is ...:
        has = ", ".join(completion.columns) or "none"
        raise UserError(
            f"row {completion.index} has no column `{column}` with the accepted "
            f"answers; its columns are {has}. Name it: (column=NAME)."
        )
    if value is None:
        return None
    answers = [value] if isinstance(value, str | int | float) else value
    if not isinstance(answers, list | tuple) or not all(
        isinstance(x, str | int | float) for x in answers
    ):
        raise UserError(
            f"row {completion.index}: `{column}` is {value!r:.80}, not an answer or a "
            "list of answers."
        )
    return [str(x) for x in answers]
