"""A language model as judge: it reads a question with answers and gives a verdict.

The model comes in as a function `list[str] -> list[str]`: from the text of each request
to the text of its reply.
"""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards.abstention import Detector
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reading.stance import abstains
from jaxalign.rewards.reading.verdict import verdicts
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

COMPARE = """\
Read a question and two answers to it. Judge which answer is more helpful, correct and
clear. Neither the order of the answers nor their length should matter. Say in one
sentence why. Then write your verdict exactly like this: [[A]] if answer A is better,
[[B]] if answer B is better, [[C]] if they are equally good.

Question:
{prompt}

Answer A:
{first}

Answer B:
{second}
"""
"""Asks for a verdict; a template has `{prompt}`, `{first}` and `{second}`."""

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

_VERDICT = re.compile(r"\\?\[\\?\[\s*([ABC])\s*\\?\]\\?\]", re.IGNORECASE)
_VERDICTS = {"A": 1.0, "B": 0.0, "C": 0.5}


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
    if not lowest < highest:
        raise UserError(f"lowest ({lowest:g}) must be below highest ({highest:g}).")

    grade_of = _compiled(pattern)

    def grade(reply: str, judged: Sequence[str]) -> float | None:
        found = [
            _on_scale(m, lowest, highest)
            for m in verdicts(reply, grade_of, judged)
            if m is not None
        ]
        return None if None in found else min(found, default=None)  # pyright: ignore

    def reward(completions: list[Completion]) -> list[float | None]:
        shown = [
            {**c.columns, "prompt": c.prompt, "completion": c.completion}
            for c in completions
        ]
        given = replies(respond, [filled(template, x) for x in shown])
        return [
            grade(reply, [str(x) for x in values.values()])
            for reply, values in zip(given, shown, strict=True)
        ]

    return reward


def comparing_judge(
    respond: Respond, *, template: str = COMPARE, column: str = "reference"
) -> RewardFunction:
    """Pairwise: the probability that the completion beats the answer in a column.

    Args:
      respond: The judge.
      template: The request; see `preferences`.
      column: Column with the answer to beat.

    Returns:
      A reward function with values from 0 to 1; None where the judge gave no verdict.

    >>> judge = comparing_judge(lambda requests: ["[[A]]"] * len(requests))
    >>> judge([Completion("Why?", "So.", columns={"reference": "No."})])
    [0.5]
    """
    check_template(template, "prompt", "first", "second")

    def reward(completions: list[Completion]) -> list[float | None]:
        for c in completions:
            if not isinstance(c.columns.get(column), str):
                raise UserError(
                    f"row {c.index} has no text in a column `{column}`, the answer to "
                    "compare with. Name the column: column=NAME."
                )
        chances = preferences(
            respond,
            [c.prompt for c in completions],
            [c.completion for c in completions],
            [c.columns[column] for c in completions],
            template=template,
        )
        return [None if np.isnan(x) else float(x) for x in chances]

    return reward


def rival_judge(respond: Respond, *, template: str = COMPARE) -> RewardFunction:
    """Pairwise: how probably each completion beats the others to the same prompt.

    For methods that compare the answers of one prompt with each other: of two answers
    that the judge finds equally good both get ½, so neither is preferred.

    Args:
      respond: The judge.
      template: The request; see `preferences`.

    Returns:
      A reward function with values from 0 to 1, the mean over the rivals. Answers to a
      prompt stand side by side; None for one that has no rival, or no verdict.

    >>> judge = rival_judge(lambda requests: ["[[A]]"] * len(requests))
    >>> judge([Completion("Why?", "So."), Completion("Why?", "No.")])
    [0.5, 0.5]
    """
    check_template(template, "prompt", "first", "second")

    def reward(completions: list[Completion]) -> list[float | None]:
        groups = itertools.groupby(
            range(len(completions)),
            lambda i: (completions[i].index, completions[i].prompt),
        )
        pairs = [x for _, group in groups for x in itertools.combinations(group, 2)]
        chances = preferences(
            respond,
            [completions[i].prompt for i, _ in pairs],
            [completions[i].completion for i, _ in pairs],
            [completions[j].completion for _, j in pairs],
            template=template,
        )
        wins: list[list[float]] = [[] for _ in completions]
        for (i, j), chance in zip(pairs, chances, strict=True):
            if not np.isnan(chance):
                wins[i].append(chance)
                wins[j].append(1 - chance)
        return [float(np.mean(x)) if x else None for x in wins]

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
            verdict = _verdict(reply, [completion.prompt, completion.completion])
            unread = verdict not in (0.0, 1.0)
            found.append(abstains(completion.completion) if unread else verdict == 0.0)
        return found

    return detector


def preferences(
    respond: Respond,
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    *,
    template: str = COMPARE,
) -> np.ndarray:
    """The probability that each first answer is better, averaged over both orders.

    With v(a, b) in {0, ½, 1} the verdict on a shown before b, this is
    (v(a, b) + 1 − v(b, a)) / 2, so that P(a, b) + P(b, a) = 1 exactly for a judge that
    replies alike to equal requests. A judge that always prefers the first place gives
    ½; what its bias hides the average does not bring back.

    Args:
      respond: The judge; one call gets both orders of all pairs.
      prompts: n questions.
      first: n answers.
      second: n answers.
      template: The request, with `{prompt}`, `{first}` and `{second}`. The reply's last
        [[A]], [[B]] or [[C]] (a tie) is the verdict, quotations left out.

    Returns:
      `[n]`, NaN where a reply holds no verdict.

    >>> def judge(requests):  # prefers what is said first
    ...     return ["[[A]]" for x in requests]
    >>> preferences(judge, ["Why?"], ["So."], ["No."])
    array([0.5])
    """
    check_template(template, "prompt", "first", "second")
    triples = list(zip(prompts, first, second, strict=True))
    orders = [*triples, *((p, b, a) for p, a, b in triples)]
    names = ("prompt", "first", "second")
    requests = [filled(template, dict(zip(names, x, strict=True))) for x in orders]
    found = map(_verdict, replies(respond, requests), orders)
    shown, swapped = np.split(np.array(list(found)), 2)
    return (shown + (1 - swapped)) / 2


def _verdict(reply: str, judged: Sequence[str]) -> float:
    own, shared = verdicts(reply, _VERDICT, judged)
    found = own or shared
    return _VERDICTS[found[1].upper()] if found else float("nan")


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


def _on_scale(m: re.Match[str], lowest: float, highest: float) -> float | None:
    """A grade as a share of the scale; None if it is no number on it."""
    try:
        value = float(m[1].replace("−", "-").replace(",", "."))
        out_of = float(m[2] or highest) if m.re.groups > 1 else highest
    except (ValueError, AttributeError):
        return None
    if out_of != highest or not lowest <= value <= highest:
        return None
    return (value - lowest) / (highest - lowest)
