"""A language model that compares: which of two answers is better.

The model comes in as a function `list[str] -> list[str]`: from the text of each request
to the text of its reply.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reading.verdict import choice
from jaxalign.rewards.requests import Respond, check_template, filled, replies
from jaxalign.rewards.reward import RewardFunction

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

# NaN: a verdict that one order lacks makes the mean of both unknown.
_VALUES = {"A": 1.0, "B": 0.0, "C": 0.5, None: float("nan")}


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
                # Both orders have been asked, so the other side needs no request of its
                # own.
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
    given = zip(replies(respond, requests), orders, strict=True)
    values = np.array([_VALUES[choice(reply, "ABC", x)] for reply, x in given])
    shown, swapped = np.split(values, 2)
    return (shown + (1 - swapped)) / 2
