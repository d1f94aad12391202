"""Rewards for form: a regular expression, and an answer that comes to its end."""

import re
from typing import Literal

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reading.pattern_process import marks_of


def matches_pattern(
    completions: list[Completion],
    *,
    pattern: str,
    where: Literal["search", "match", "fullmatch"] = "fullmatch",
) -> list[float]:
    r"""1 if a regular expression describes the completion, else 0.

    Args:
      completions: What to score.
      pattern: Python's syntax; `.` also stands for a line end.
      where: `fullmatch` is about the whole completion, `match` about its beginning,
        `search` about any place.

    Returns:
      1 or 0 for each.

    Raises:
      UserError: The pattern is none, or takes more than 5 s for a completion.

    >>> form = r"<think>.*</think>\s*<answer>.*</answer>\s*"
    >>> text = "<think>2 and 2</think> <answer>4</answer>"
    >>> matches_pattern([Completion("2 + 2?", text)], pattern=form)
    [1.0]
    """
    if where not in ("search", "match", "fullmatch"):
        raise UserError(f"where={where!r}: known are search, match and fullmatch.")
    if not isinstance(pattern, str):
        raise UserError(
            f"pattern is {pattern!r}; put the regular expression in quotes."
        )
    try:
        compiled = re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise UserError(
            f"pattern {pattern!r} is no regular expression: {error}."
        ) from error
    return [float(bool(marks_of(compiled, c.completion, where))) for c in completions]


def stopped(completions: list[Completion]) -> list[float]:
    """1 if a stop token ended the completion, 0 if it was cut off.

    >>> stopped([Completion("Go", "on and on and", stopped=False)])
    [0.0]
    """
    return [float(c.stopped) for c in completions]
