"""Saying "I don't know": three outcomes, and the rewards that make it worth while."""

import re
import warnings
from collections.abc import Sequence
from typing import Literal, TypeAlias

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.accepted import accepted_answers
from jaxalign.rewards.matching import (
    is_contained,
    is_same,
    normalized,
)
from jaxalign.rewards.number import accepted_values, is_right

Outcome: TypeAlias = Literal["correct", "abstain", "wrong"]
Match: TypeAlias = Literal["normalized", "contains", "number"]

REFUSALS = (
    "I don't know",
    "I do not know",
    "I'm not sure",
    "I am not sure",
    "I have no idea",
    "I can't answer",
    "I cannot answer",
)
"""What abstains, unless other phrases are given."""


def abstention(
    completions: list[Completion],
    *,
    correct: float = 1.0,
    abstain: float = 0.0,
    wrong: float = -1.0,
    column: str = "answer",
    match: Match = "contains",
    refusals: Sequence[str] = REFUSALS,
) -> list[float]:
    """`correct` for a right answer, `abstain` for "I don't know", `wrong` for others.

    Answering pays iff the chance of being right is above `abstention_threshold`.

    Args:
      completions: What to score.
      correct: r_c.
      abstain: r_a, between the other two.
      wrong: r_w.
      column: Column with the accepted answer, or a list of them. None says that the
        question has no answer: whatever does not abstain is wrong.
      match: How answers are compared; see `outcome_of`.
      refusals: Phrases that abstain; see `is_refusal`.

    Returns:
      One of the three for each.

    Raises:
      UserError: `correct` is not above `wrong`, or a row has no answers.

    >>> rows = [Completion("2 + 2?", x, columns={"answer": "4"}) for x in ("4", "5")]
    >>> abstention([*rows, Completion("?", "I don't know.", columns={"answer": "4"})])
    [1.0, -1.0, 0.0]
    """
    rewards = check_order(correct=correct, abstain=abstain, wrong=wrong)
    if isinstance(refusals, str):
        refusals = [refusals]
    if not all(map(normalized, refusals)):
        raise UserError(f"refusals {list(refusals)!r}: one of them is empty.")
    if match not in ("normalized", "contains", "number"):
        raise UserError(f"match={match!r}: known are normalized, contains, number.")
    return [
        rewards[outcome_of(c, column=column, match=match, refusals=refusals)]
        for c in completions
    ]


def abstention_reward(
    outcome: Outcome, *, correct: float = 1.0, abstain: float = 0.0, wrong: float = -1.0
) -> float:
    """The reward of one outcome.

    Args:
      outcome: `correct`, `abstain` or `wrong`.
      correct: r_c.
      abstain: r_a, between the other two.
      wrong: r_w.

    Returns:
      One of the three.

    >>> abstention_reward("wrong", wrong=-3.0)
    -3.0
    """
    return check_order(correct=correct, abstain=abstain, wrong=wrong)[outcome]


def abstention_threshold(
    *, correct: float = 1.0, abstain: float = 0.0, wrong: float = -1.0
) -> float:
    """The chance to be right above which answering pays: t = (r_a − r_w) / (r_c − r_w).

    An answer that is right with probability c earns c r_c + (1 − c) r_w, which beats
    r_a iff c > t (Kalai et al., https://arxiv.org/abs/2509.04664). With a KL term of
    strength β the optimal log-odds of answering are those of the reference plus
    (r_c − r_w)(c − t) / β.

    Args:
      correct: r_c.
      abstain: r_a.
      wrong: r_w, below r_c.

    Returns:
      t, in [0, 1] where r_a lies between the other two.

    >>> abstention_threshold(correct=1.0, abstain=0.0, wrong=-3.0)
    0.75
    """
    check_order(correct=correct, abstain=abstain, wrong=wrong)
    return (abstain - wrong) / (correct - wrong)


def wrong_reward(threshold: float) -> float:
    """r_w = −t / (1 − t), with which r_c = 1 and r_a = 0 make the threshold t.

    >>> wrong_reward(0.75)
    -3.0
    """
    if not 0 <= threshold < 1:
        raise UserError(f"the threshold must be in [0, 1), got {threshold}.")
    return -threshold / (1 - threshold) + 0.0


def outcome_of(
    completion: Completion,
    *,
    column: str = "answer",
    match: Match = "contains",
    refusals: Sequence[str] = REFUSALS,
) -> Outcome:
    """Whether a completion is right, wrong, or abstains.

    Args:
      completion: Prompt, answer and row.
      column: Column with the accepted answer, or a list of them, or None.
      match: `normalized`: the whole completion is an accepted answer; `contains`: one
        stands in it; `number`: it ends with the right number. See `matching`, `number`.
      refusals: Phrases that abstain.

    Returns:
      `abstain` goes before the other two.

    >>> outcome_of(Completion("2 + 2?", "It is 4.", columns={"answer": 4}))
    'correct'
    """
    answers = accepted_answers(completion, column)
    text = completion.completion
    if is_refusal(text, refusals):
        return "abstain"
    if answers is None:
        return "wrong"
    if match == "number":
        right = is_right(text, accepted_values(completion, column) or [])
    else:
        compare = is_same if match == "normalized" else is_contained
        right = any(compare(text, answer) for answer in answers)
    return "correct" if right else "wrong"


def is_refusal(text: str, refusals: Sequence[str] = REFUSALS) -> bool:
    """Whether the first sentence holds one of the phrases, normalised.

    >>> is_refusal("Sorry, I don’t know that. Ask Ada."), is_refusal("4. I don't know.")
    (True, False)
    """
    first = re.split(r"[.!?\n]", text.strip().replace("’", "'"), maxsplit=1)[0]
    return any(is_contained(first, x.replace("’", "'")) for x in refusals)


def check_order(
    *, correct: float, abstain: float, wrong: float
) -> dict[Outcome, float]:
    """The rewards by outcome; refuses those that reward being wrong.

    Raises:
      UserError: `correct` is not above `wrong`.

    Warns:
      UserWarning: Abstaining is never worth while, or always is.
    """
    if not correct > wrong:
        raise UserError(
            f"correct ({correct:g}) must be above wrong ({wrong:g}), or being wrong is "
            "what is learned."
        )
    if abstain <= wrong:
        warnings.warn(
            f"abstain ({abstain:g}) is not above wrong ({wrong:g}): to abstain is "
            "never worth while, whatever the chance to be right.",
            stacklevel=3,
        )
    elif abstain >= correct:
        warnings.warn(
            f"abstain ({abstain:g}) is not below correct ({correct:g}): to answer is "
            "never worth while, whatever the chance to be right.",
            stacklevel=3,
        )
    return {"correct": correct, "abstain": abstain, "wrong": wrong}
