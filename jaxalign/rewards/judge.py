"""A language model as judge: it reads a question with answers and gives a verdict.

The model comes in as a function `list[str] -> list[str]`: from the text of each request
to the text of its reply.
"""

import re
from collections.abc import Sequence

from jaxalign.errors import UserError
from jaxalign.rewards.abstention import Detector
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.parameters import check_numbers
from jaxalign.rewards.reading.pattern_process import PatternMark, marks_of
from jaxalign.rewards.reading.stance import abstains
from jaxalign.rewards.reading.verdict import choice, marks_in, verdicts
from jaxalign.rewards.requests import Respond, check_template, filled, replies
from jaxalign.rewards.reward import RewardFunction

RATE = """\
Read a question and an answer to it. Judge how helpful, correct and clear the answer is.
Say in one sentence why. Then give a grade from 1 (useless) to 10 (perfect), written
exactly like this: [[5]]

Question:
{prompt}

Answer:
{completion}
"""
"""Asks for a grade from 1 to 10; a template has `{prompt}` and `{completion}`."""

GRADE = r"\\?\[\\?\[\s*([-+−]?[0-9]+(?:[.,][0-9]+)?)\s*(?:/\s*([0-9]+))?\s*\\?\]\\?\]"
"""A grade in double brackets: [[7]], [[7.5]], [[7/10]]."""

ABSTAINS = """\
Read a question and an answer to it. Does the answer name something as the answer to the
question, be it wrong or with reserve (maybe it is ...)? Or does it say that its writer
does not know, or cannot or will not answer? Say in one sentence why. Then write your
verdict exactly like this: [[A]] if it answers, [[B]] if it does not.

Question:
{prompt}

Answer:
{completion}
"""
"""Asks whether a completion abstains; a template has `{prompt}` and `{completion}`."""


def rating_judge(
    respond: Respond,
    *,
    template: str = RATE,
    pattern: str = GRADE,
    lowest: float = 1.0,
    highest: float = 10.0,
) -> RewardFunction:
    """Pointwise: a grade for each answer, as a share of the scale from 0 to 1.

    Args:
      respond: The judge.
      template: The request. `{prompt}`, `{completion}` and `{column}` of the row are
        filled in; other braces stay.
      pattern: Regular expression whose group 1 is the grade, and group 2, if there is
        one, what it is out of. The last match counts that is not quoted from what was
        judged; see `verdicts`. Where it cannot be told apart, the lower grade counts:
        an answer that brings its own mark only loses by it.
      lowest: The grade that becomes 0.
      highest: The grade that becomes 1.

    Returns:
      A reward function; None for replies without a grade on the scale.

    Raises:
      UserError: The template has no place for the texts, the pattern no group, or the
        scale no length.

    >>> judge = rating_judge(lambda requests: ["Fine, but short. [[7]]", "Hm."])
    >>> judge([Completion("Why?", "So."), Completion("Why?", "No.")])
    [0.6666666666666666, None]
    """
    check_template(template, "prompt", "completion")
    check_numbers(lowest=lowest, highest=highest)
    if not lowest < highest:
        raise UserError(f"lowest ({lowest:g}) must be below highest ({highest:g}).")

    grade_of = _compiled(pattern)

    def marks(reply: str) -> list[PatternMark]:
        if pattern == GRADE:
            return marks_in(reply, grade_of)
        return marks_of(grade_of, reply, "finditer")

    def reward(completions: list[Completion]) -> list[float | None]:
        shown = [
            {**c.columns, "prompt": c.prompt, "completion": c.completion}
            for c in completions
        ]
        given = replies(respond, [filled(template, x) for x in shown])
        return [
            share_of_scale(
                reply,
                marks(reply),
                [str(x) for x in values.values()],
                lowest=lowest,
                highest=highest,
            )
            for reply, values in zip(given, shown, strict=True)
        ]

    return reward


def abstention_judge(respond: Respond, *, template: str = ABSTAINS) -> Detector:
    """A judge that says which completions abstain, for `abstention(detector=...)`.

    Args:
      respond: The judge.
      template: The request. `{prompt}`, `{completion}` and `{column}` of the row are
        filled in. The reply's verdict is [[A]] (answers) or [[B]] (abstains).

    Returns:
      A function from completions to true where they abstain. Where there is no verdict,
      it says what `abstains` says.

    >>> judge = abstention_judge(lambda requests: ["No name in it. [[B]]", "Hm."])
    >>> judge([Completion("Who?", "Ask Ada."), Completion("Who?", "I don't know.")])
    [True, True]
    """
    check_template(template, "prompt", "completion")

    def detector(completions: list[Completion]) -> list[bool]:
        shown = [
            {**c.columns, "prompt": c.prompt, "completion": c.completion}
            for c in completions
        ]
        given = replies(respond, [filled(template, x) for x in shown])
        found = []
        for completion, reply in zip(completions, given, strict=True):
            verdict = choice(reply, "AB", [completion.prompt, completion.completion])
            silent = verdict == "B" if verdict else abstains(completion.completion)
            found.append(silent)
        return found

    return detector


def share_of_scale(
    reply: str,
    marks: Sequence[PatternMark],
    judged: Sequence[str],
    *,
    lowest: float,
    highest: float,
) -> float | None:
    """The grade in a reply, the lower of two, as a share of the scale.

    Args:
      reply: Of the judge.
      marks: All that looks like a grade in it; their group 1 is the number, and group
        2, if there is one, what it is out of.
      judged: The texts that were judged; see `verdicts`.
      lowest: The grade that becomes 0.
      highest: The grade that becomes 1.

    Returns:
      None without a grade on the scale.
    """
    found = [
        _on_scale(m, lowest, highest)
        for m in verdicts(reply, marks, judged)
        if m is not None
    ]
    return None if None in found else min(found, default=None)  # pyright: ignore


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"pattern {pattern!r} is no regular expression: {error}."
        ) from error
    if not compiled.groups:
        raise UserError(
            f"pattern {pattern!r} has no group: put the part that is the grade in "
            r"parentheses, as in 'Rating: (\d+)'."
        )
    return compiled


def _on_scale(m: PatternMark, lowest: float, highest: float) -> float | None:
    """A grade as a share of the scale; None if it is no number on it."""
    try:
        _, grade, *rest = m.groups
        value = float((grade or "").replace("−", "-").replace(",", "."))
        out_of = float(rest[0] or highest) if rest else highest
    except ValueError:
        return None
    if out_of != highest or not lowest <= value <= highest:
        return None
    return (value - lowest) / (highest - lowest)
