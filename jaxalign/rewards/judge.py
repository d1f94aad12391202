"""A language model as judge: it reads a question with answers and gives a verdict.

The model comes in as a function `list[str] -> list[str]`: from the text of each request
to the text of its reply.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reward import RewardFunction

Respond: TypeAlias = Callable[[list[str]], list[str]]
"""The judge: requests to replies."""

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

_VERDICTS = {"A": 1.0, "B": 0.0, "C": 0.5}


def rating_judge(
    respond: Respond,
    *,
    template: str = RATE,
    pattern: str = r"\[\[\s*([0-9]+(?:\.[0-9]+)?)\s*\]\]",
    lowest: float = 1.0,
    highest: float = 10.0,
) -> RewardFunction:
    """Pointwise: a grade for each answer, as a share of the scale from 0 to 1.

    Args:
      respond: The judge.
      template: The request. `{prompt}`, `{completion}` and `{column}` of the row are
        filled in; other braces stay.
      pattern: Regular expression whose group 1 is the grade; the last match counts.
      lowest: The grade that becomes 0.
      highest: The grade that becomes 1.

    Returns:
      A reward function; None for replies without a grade on the scale.

    >>> judge = rating_judge(lambda requests: ["Fine, but short. [[7]]", "Hm."])
    >>> judge([Completion("Why?", "So."), Completion("Why?", "No.")])
    [0.6666666666666666, None]
    """
    check_template(template, "prompt", "completion")
    if not lowest < highest:
        raise UserError(f"lowest ({lowest:g}) must be below highest ({highest:g}).")

    def grade(reply: str) -> float | None:
        found = re.findall(pattern, reply)
        value = float(found[-1]) if found else np.nan
        return (
            (value - lowest) / (highest - lowest)
            if lowest <= value <= highest
            else None
        )

    def reward(completions: list[Completion]) -> list[float | None]:
        requests = [
            filled(
                template,
                {**c.columns, "prompt": c.prompt, "completion": c.completion},
            )
            for c in completions
        ]
        return [grade(x) for x in replies(respond, requests)]

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
        [[A]], [[B]] or [[C]] (a tie) is the verdict.

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
    verdicts = np.array([_verdict(x) for x in replies(respond, requests)])
    shown, swapped = np.split(verdicts, 2)
    return (shown + (1 - swapped)) / 2


def replies(respond: Respond, requests: list[str]) -> list[str]:
    """The judge's replies, one for each request."""
    got = list(respond(requests)) if requests else []
    if len(got) != len(requests) or not all(isinstance(x, str) for x in got):
        raise UserError(
            f"the judge gave {len(got)} replies to {len(requests)} requests; it must "
            "give one text for each."
        )
    return got


def filled(template: str, values: Mapping[str, object]) -> str:
    """The template with `{name}` replaced for the names at hand; other braces stay.

    Values are not looked into, so an answer cannot smuggle in a placeholder.

    >>> filled("{prompt} {completion} {x}", {"prompt": "{completion}", "completion": 1})
    '{completion} 1 {x}'
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        return str(values[name]) if name in values else match[0]

    return re.sub(r"\{(\w+)\}", value, template)


def check_template(template: str, *names: str) -> None:
    """Refuses a template in which something is missing."""
    missing = [f"{{{name}}}" for name in names if f"{{{name}}}" not in template]
    if missing:
        raise UserError(
            f"the judge's template has no {' and no '.join(missing)}; write it where "
            f"the text belongs. The template begins: {template[:60]!r}"
        )


def _verdict(reply: str) -> float:
    found = re.findall(r"\[\[\s*([ABC])\s*\]\]", reply)
    return _VERDICTS[found[-1]] if found else float("nan")
