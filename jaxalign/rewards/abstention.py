"""Saying "I don't know": three outcomes, and the rewards that make it worth while."""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.matching import is_contained, is_same, normalized
from jaxalign.rewards.number import accepted_values, is_right
from jaxalign.rewards.parameters import check_numbers
from jaxalign.rewards.reading.accepted import accepted_answers, opposite_answers
from jaxalign.rewards.reading.confidence import without_confidence
from jaxalign.rewards.reading.reply import reply_of
from jaxalign.rewards.reading.stance import abstains, cleaned

Outcome: TypeAlias = Literal["correct", "abstain", "wrong"]
Match: TypeAlias = Literal["normalized", "contains", "number"]
Detector: TypeAlias = Callable[[list[Completion]], Sequence[bool]]
"""Which completions abstain: one true or false for each."""


def abstention(
    completions: list[Completion],
    *,
    correct: float = 1.0,
    abstain: float = 0.0,
    wrong: float = -1.0,
    column: str = "answer",
    match: Match = "contains",
    refusals: Sequence[str] | str | None = None,
    detector: Detector | None = None,
) -> list[float]:
    """`correct` for a right answer, `abstain` for "I don't know", `wrong` for others.

    Answering pays iff the chance of being right is above `abstention_threshold`. A
    policy learns that from unscaled advantages (RLOO, Dr. GRPO, PPO): GRPO's, divided
    by the deviation of small groups, put the threshold near one half whatever the three
    are.

    Args:
      completions: What to score. What states a confidence is no part of the answer.
      correct: r_c.
      abstain: r_a, between the other two.
      wrong: r_w.
      column: Column with the accepted answer, or a list of them. None says that the
        question has no answer: whatever does not abstain is wrong.
      match: How answers are compared; see `outcome_of`.
      refusals: Phrases that abstain, in place of the detector `abstains`, which knows
        ten languages; see `is_refusal`.
      detector: A function that says which completions abstain, in place of it too, such
        as `abstention_judge` makes from a language model. On the command line: a
        function of one's own that calls this one with it, or `judged_abstention`.

    Returns:
      One of the three for each.

    Raises:
      UserError: `correct` is not above `wrong`, or a row has no answers.

    >>> rows = [Completion("2 + 2?", x, columns={"answer": "4"}) for x in ("4", "5")]
    >>> abstention([*rows, Completion("?", "I don't know.", columns={"answer": "4"})])
    [1.0, -1.0, 0.0]
    """
    rewards = check_order(correct=correct, abstain=abstain, wrong=wrong)
    found = outcomes(
        completions, column=column, match=match, refusals=refusals, detector=detector
    )
    return [rewards[x] for x in found]


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
    # `+ 0.0` makes 0 of −0.
    return -threshold / (1 - threshold) + 0.0


def outcomes(
    completions: list[Completion],
    *,
    column: str = "answer",
    match: Match = "contains",
    refusals: Sequence[str] | str | None = None,
    detector: Detector | None = None,
) -> list[Outcome]:
    """The outcome of each completion.

    Args:
      completions: What to judge. What states a confidence is no part of the answer,
        for whoever says what abstains neither; see `stated_confidence`.
      column: As for `abstention`.
      match: How answers are compared; see `outcome_of`.
      refusals: As for `abstention`.
      detector: As for `abstention`.

    Returns:
      `correct`, `abstain` or `wrong` for each.
    """
    if match not in ("normalized", "contains", "number"):
        raise UserError(f"match={match!r}: known are normalized, contains, number.")
    said = [
        dataclasses.replace(c, completion=without_confidence(c.completion))
        for c in completions
    ]
    silent = _silent(said, refusals, detector)
    return [_outcome(c, x, column, match) for c, x in zip(said, silent, strict=True)]


def outcome_of(
    completion: Completion,
    *,
    column: str = "answer",
    match: Match = "contains",
    refusals: Sequence[str] | str | None = None,
    detector: Detector | None = None,
) -> Outcome:
    """Whether a completion is right, wrong, or abstains.

    Args:
      completion: Prompt, text and row.
      column: Column with the accepted answer, or a list of them, or None.
      match: `normalized`: the whole completion is an accepted answer; `contains`: one
        stands in it; `number`: it ends with the right number. See `matching`, `number`.
      refusals: Phrases that abstain; see `is_refusal`.
      detector: Says what abstains; see `abstention`.

    Returns:
      `abstain` goes before the other two.

    >>> outcome_of(Completion("2 + 2?", "It is 4.", columns={"answer": 4}))
    'correct'
    """
    return outcomes(
        [completion], column=column, match=match, refusals=refusals, detector=detector
    )[0]


def is_refusal(text: str, refusals: Sequence[str]) -> bool:
    """Whether one of the phrases stands in a text, normalised, and not as a quotation.

    Phrases are taken by the letter: they do not know what goes before or behind them.

    >>> phrases = ["I don't know", "我不知道"]
    >>> is_refusal("Sorry, I don’t know!", phrases)
    True
    >>> is_refusal("抱歉，我不知道。", phrases)
    True
    """
    return any(is_contained(cleaned(text), x) for x in refusals)


def _silent(
    completions: list[Completion],
    refusals: Sequence[str] | str | None,
    detector: Detector | None,
) -> list[bool]:
    """Whether each completion abstains, by whoever is to say so."""
    if detector is not None:
        if refusals is not None or not callable(detector):
            raise UserError(
                f"detector is {detector!r:.60}: it must be a function of the "
                "completions, without refusals=PHRASES beside it. On the command line "
                "name a function of your own that calls `abstention` with it."
            )
        found = list(detector(completions)) if completions else []
        if len(found) != len(completions):
            raise UserError(
                f"the detector of abstentions gave {len(found)} values for "
                f"{len(completions)} completions; it must give true or false for each."
            )
        return [bool(x) for x in found]
    if not isinstance(refusals, Sequence | None):
        raise UserError(f"refusals is {refusals!r}; give a list of phrases.")
    if refusals is None:
        return [abstains(c.completion) for c in completions]
    phrases: list[str] = [refusals] if isinstance(refusals, str) else list(refusals)
    if not all(isinstance(x, str) and normalized(x) for x in phrases):
        raise UserError(f"refusals {phrases!r}: one of them is empty, or no text.")
    return [is_refusal(c.completion, phrases) for c in completions]


def _outcome(
    completion: Completion, silent: bool, column: str, match: Match
) -> Outcome:
    # First, so that a row without the column is refused whatever was said.
    answers = accepted_answers(completion, column)
    if silent:
        return "abstain"
    if answers is None:
        return "wrong"
    if match == "number":
        wanted = accepted_values(completion, column) or []
        return "correct" if is_right(completion.completion, wanted) else "wrong"
    compare = is_same if match == "normalized" else is_contained
    text = reply_of(completion.completion)
    right = any(compare(text, x) for x in answers)
    # "Yes or no" holds the right answer and the other one, and says neither.
    right &= not any(compare(text, x) for x in opposite_answers(completion, column))
    return "correct" if right else "wrong"


def check_order(
    *, correct: float, abstain: float, wrong: float
) -> dict[Outcome, float]:
    """The rewards by outcome; refuses those that reward being wrong.

    Raises:
      UserError: `correct` is not above `wrong`.

    Warns:
      UserWarning: Abstaining is never worth while, or always is.
    """
    check_numbers(correct=correct, abstain=abstain, wrong=wrong)
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
