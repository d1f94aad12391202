"""A language model as judge by a rubric: a grade for each of several named criteria."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.judge import GRADE, share_of_scale
from jaxalign.rewards.parameters import check_numbers
from jaxalign.rewards.reading.pattern_process import PatternMark
from jaxalign.rewards.requests import Respond, check_template, filled, replies
from jaxalign.rewards.reward import RewardFunction

RUBRIC = """\
Read a question and an answer to it. Judge the answer by each of these criteria, and by
nothing else:

{criteria}

Say in one sentence for each why. Then give each a grade from 1 (not at all) to 10
(entirely), in a line of its own, written exactly like this:

{form}

Question:
{prompt}

Answer:
{completion}
"""
"""Asks for a grade for each criterion; a template has `{criteria}`, `{prompt}` and
`{completion}`, and may have `{form}`, which shows how the grades are to be written."""


class Criterion(NamedTuple):
    """One thing that an answer is judged by.

    Attributes:
      name: As the grade's line begins.
      about: What it asks for.
      weight: In the mean.
    """

    name: str
    about: str
    weight: float = 1.0


def rubric_judge(
    respond: Respond,
    criteria: Sequence[Criterion],
    *,
    template: str = RUBRIC,
    lowest: float = 1.0,
    highest: float = 10.0,
) -> RewardFunction:
    """The weighted mean of a judge's grades, each a share of the scale from 0 to 1.

    Args:
      respond: The judge.
      criteria: At least one; see `read_criteria`.
      template: The request; see `RUBRIC`. Columns of the row can stand in it too.
      lowest: The grade that becomes 0.
      highest: The grade that becomes 1.

    Returns:
      A reward function; None where the grade of a criterion is missing.

    Raises:
      UserError: There is no criterion, or one without weight; or no scale.

    >>> judge = rubric_judge(
    ...     lambda requests: ["Right, but long. true: [[10]] short: [[1]]"],
    ...     [Criterion("true", "It is true.", 3.0), Criterion("short", "It is short.")],
    ... )
    >>> judge([Completion("Why?", "So.")])
    [0.75]
    """
    check_template(template, "criteria", "prompt", "completion")
    check_numbers(lowest=lowest, highest=highest)
    if not lowest < highest:
        raise UserError(f"lowest ({lowest:g}) must be below highest ({highest:g}).")
    if not criteria or not all(x.weight > 0 for x in criteria):
        raise UserError("criteria: give at least one, each with a weight above 0.")
    names = [x.name for x in criteria]
    own = {
        "criteria": "\n".join(f"- {x.name}: {x.about}" for x in criteria),
        "form": "\n".join(f"{name}: [[5]]" for name in names),
    }

    def reward(completions: list[Completion]) -> list[float | None]:
        shown = [
            {**c.columns, "prompt": c.prompt, "completion": c.completion}
            for c in completions
        ]
        given = replies(respond, [filled(template, x | own) for x in shown])
        return [
            rubric_mean(
                rubric_shares(
                    reply,
                    names,
                    [str(x) for x in values.values()],
                    lowest=lowest,
                    highest=highest,
                ),
                criteria,
            )
            for reply, values in zip(given, shown, strict=True)
        ]

    return reward


def rubric_shares(
    reply: str,
    names: Sequence[str],
    judged: Sequence[str] = (),
    *,
    lowest: float = 1.0,
    highest: float = 10.0,
) -> dict[str, float | None]:
    """The grade that a reply gives each criterion, as a share of the scale.

    Args:
      reply: Of the judge.
      names: Of the criteria.
      judged: The texts that were judged, for marks that the reply quotes from them.
      lowest: The grade that becomes 0.
      highest: The grade that becomes 1.

    Returns:
      By name; None without a grade on the scale.

    >>> rubric_shares("**Clear:** [[10/10]]", ["clear", "true"])
    {'clear': 1.0, 'true': None}
    """
    between = r"[\s*_`\"']*[:=–-]?[\s*_`\"']*"
    # The longest first, and all in one pass: the grade of "factual accuracy" is none of
    # "accuracy".
    any_name = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    pattern = re.compile(rf"(?<!\w)({any_name}){between}{GRADE}", re.IGNORECASE)
    marks: dict[str, list[PatternMark]] = {name.casefold(): [] for name in names}
    for m in pattern.finditer(reply):
        marks[m[1].casefold()].append(PatternMark(m.start(), (m[0], *m.groups()[1:])))
    return {
        name: share_of_scale(
            reply, marks[name.casefold()], judged, lowest=lowest, highest=highest
        )
        for name in names
    }


def rubric_mean(
    shares: Mapping[str, float | None], criteria: Sequence[Criterion]
) -> float | None:
    """Σ weight · share / Σ weight; None where a criterion has none.

    >>> criteria = [Criterion("a", "It is.", 3.0), Criterion("b", "It was.")]
    >>> rubric_mean({"a": 1.0, "b": 0.5}, criteria)
    0.875
    """
    pairs = [(shares[x.name], x.weight) for x in criteria]
    if any(share is None for share, _ in pairs):
        return None
    return sum(s * w for s, w in pairs if s is not None) / sum(w for _, w in pairs)


def read_criteria(given: object) -> list[Criterion]:
    """Criteria as the command line gives them: `{name: "what it asks for"}`.

    A weight stands in front of what it asks for, in brackets.

    Raises:
      UserError: They are not understood.

    >>> read_criteria({"exact": "(3) No sentence is false.", "short": "Two."})[0]
    Criterion(name='exact', about='No sentence is false.', weight=3.0)
    """
    if not isinstance(given, Mapping) or not given:
        raise UserError(
            f"criteria is {given!r:.80}; give names and what they ask for: "
            "criteria={exact: 'No sentence is false.', short: '(2) One sentence.'}. A "
            "number in brackets is a weight."
        )
    found = []
    for name, about in given.items():
        form = r"\s*(?:\(([0-9.]+)\)\s*)?(.*\S)\s*"
        match = re.fullmatch(form, str(about), re.DOTALL)
        try:
            weight = float(match[1] or 1.0) if match else 0.0
        except ValueError:
            weight = 0.0
        if not (str(name).strip() and match and weight > 0):
            raise UserError(
                f"criteria: {name!r} asks for {about!r:.80}. Each needs a name, a text "
                "and, if one stands in front, a weight above 0."
            )
        found.append(Criterion(str(name).strip(), match[2], weight))
    folded = [x.name.casefold() for x in found]
    if len(set(folded)) < len(folded):
        raise UserError("criteria: two have the same name.")
    return found
