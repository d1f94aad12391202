"""Rewards for knowing what one knows: a target of confidence, and stated confidence."""

import math
from collections.abc import Sequence

from jaxalign.errors import UserError
from jaxalign.rewards.abstention import (
    Detector,
    Match,
    Outcome,
    outcomes,
    wrong_reward,
)
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.parameters import check_numbers
from jaxalign.rewards.reading.confidence import stated_confidence


def confidence_target(
    completions: list[Completion],
    *,
    threshold: float | str = "threshold",
    column: str = "answer",
    match: Match = "contains",
    refusals: Sequence[str] | str | None = None,
    detector: Detector | None = None,
) -> list[float]:
    """1 for a right answer, 0 for "I don't know", −t / (1 − t) for a wrong one.

    Answering pays iff it is right with a probability above t (Kalai et al.,
    https://arxiv.org/abs/2509.04664). With t in the prompt, drawn anew for each row,
    one policy learns to answer at any threshold: see `target_instruction`. Not so with
    GRPO's scaled advantages: see `abstention`.

    Args:
      completions: What to score.
      threshold: t in [0, 1), or the name of the column that holds it.
      column: Column with the accepted answer, or a list of them, or None.
      match: How answers are compared; see `outcome_of`.
      refusals: Phrases that abstain; see `abstention`.
      detector: Says what abstains; see `abstention`.

    Returns:
      One of the three for each.

    Raises:
      UserError: A row has no threshold in [0, 1), or no answers.

    >>> row = {"answer": "Rome", "threshold": 0.75}
    >>> texts = ("Rome", "Oslo", "I don't know")
    >>> confidence_target([Completion("?", x, columns=row) for x in texts])
    [1.0, -3.0, 0.0]
    """
    if not isinstance(threshold, str):
        wrong_reward(_number(threshold, "threshold"))  # also without completions
    found = outcomes(
        completions, column=column, match=match, refusals=refusals, detector=detector
    )
    thresholds = [_threshold(c, threshold) for c in completions]
    return [
        {"correct": 1.0, "abstain": 0.0}.get(outcome, wrong_reward(t))
        for outcome, t in zip(found, thresholds, strict=True)
    ]


def target_instruction(threshold: float) -> str:
    """What a prompt says of the threshold, so that a policy can act on it.

    >>> print(target_instruction(0.75))
    Answer only if you are more than 75% confident. A right answer gets 1 point, a wrong
    one loses 3 points, and "I don't know" gets 0 points.
    """
    penalty = -wrong_reward(threshold)
    return (
        f"Answer only if you are more than {100 * threshold:g}% confident. A right "
        f"answer gets 1 point, a wrong one loses {penalty:.3g} points, and "
        '"I don\'t know" gets 0 points.'
    )


def brier(
    completions: list[Completion],
    *,
    column: str = "answer",
    match: Match = "contains",
    tenths: bool = False,
    unstated: float = -1.0,
    refusals: Sequence[str] | str | None = None,
    detector: Detector | None = None,
) -> list[float]:
    """1[right] − (q − 1[right])², with the confidence q that the completion states.

    RLCR (Damani et al., https://arxiv.org/abs/2507.16806). Where an answer is right
    with probability p, q = p is worth the most, p − p(1 − p) = p²: so more knowledge
    always pays, and so does stating how much there is.

    Args:
      completions: What to score. What states the confidence is no part of the answer;
        see `stated_confidence`.
      column: Column with the accepted answer, or a list of them, or None.
      match: How answers are compared; see `outcome_of`.
      tenths: Whether a bare digit is one of ten tokens; see `stated_confidence`.
      unstated: The reward of an answer without a confidence; −1 is that of being wrong
        and certain.
      refusals: Phrases that abstain; see `abstention`.
      detector: Says what abstains; see `abstention`.

    Returns:
      From −1 to 1 for each; 0 for "I don't know", which states q = 0.

    >>> texts = ("Rome. Confidence: 90%", "Oslo. Confidence: 90%", "I don't know")
    >>> rows = [Completion("?", x, columns={"answer": "Rome"}) for x in texts]
    >>> [round(x, 2) for x in brier(rows)]
    [0.99, -0.81, 0.0]
    """
    check_numbers(unstated=unstated)
    judged = _judged(completions, tenths, column, match, refusals, detector)
    return [
        unstated if q is None else float(right) - (q - right) ** 2
        for q, right in judged
    ]


def log_score(
    completions: list[Completion],
    *,
    column: str = "answer",
    match: Match = "contains",
    tenths: bool = False,
    clip: float = 0.01,
    scale: float = 0.2,
    unstated: float | None = None,
    refusals: Sequence[str] | str | None = None,
    detector: Detector | None = None,
) -> list[float]:
    """1[right] + scale · log of the probability that was stated for what happened.

    The logarithmic score (Good 1952, https://www.jstor.org/stable/2984087): log q where
    the answer is right and log(1 − q) where it is wrong, with q held within
    [clip, 1 − clip], since the logarithm has no bound. Where an answer is right with
    probability p, q = p is worth the most, p − scale · H(p). That grows with p only up
    to scale = 1 / log((1 − clip) / clip), 0.217 at a clip of 0.01: beyond it a policy
    may learn to be wrong and to say so.

    Args:
      completions: What to score; see `brier`.
      column: Column with the accepted answer, or a list of them, or None.
      match: How answers are compared; see `outcome_of`.
      tenths: Whether a bare digit is one of ten tokens; see `stated_confidence`.
      clip: In (0, ½).
      scale: Of the logarithm, above 0.
      unstated: The reward of an answer without a confidence; by default that of being
        wrong and certain, scale · log(clip).
      refusals: Phrases that abstain; see `abstention`.
      detector: Says what abstains; see `abstention`.

    Returns:
      For each at most 1; scale · log(1 − clip) for "I don't know", which states q = 0.

    Raises:
      UserError: `clip` or `scale` is beyond its range, or a row has no answers.

    >>> texts = ("Rome. Confidence: 90%", "Oslo. Confidence: 90%", "Rome")
    >>> rows = [Completion("?", x, columns={"answer": "Rome"}) for x in texts]
    >>> [round(x, 3) for x in log_score(rows)]
    [0.979, -0.461, -0.921]
    """
    check_numbers(clip=clip, scale=scale)
    if not 0 < clip < 0.5 or not scale > 0:
        raise UserError(
            f"clip ({clip:g}) must be in (0, 0.5), and scale ({scale:g}) above 0."
        )
    if unstated is None:
        unstated = scale * math.log(clip)
    check_numbers(unstated=unstated)

    def value(q: float, right: bool) -> float:
        q = min(max(q, clip), 1 - clip)
        # So certainty that proves wrong costs scale · log(clip), and not infinity.
        return float(right) + scale * math.log(q if right else 1 - q)

    judged = _judged(completions, tenths, column, match, refusals, detector)
    return [unstated if q is None else value(q, right) for q, right in judged]


def _judged(
    completions: list[Completion],
    tenths: bool,
    column: str,
    match: Match,
    refusals: Sequence[str] | str | None,
    detector: Detector | None,
) -> list[tuple[float | None, bool]]:
    """Stated confidences, and whether what is said besides is right."""
    stated = [stated_confidence(c.completion, tenths=tenths) for c in completions]
    found = outcomes(
        completions, column=column, match=match, refusals=refusals, detector=detector
    )
    return [_claim(x, y.confidence) for x, y in zip(found, stated, strict=True)]


def _claim(outcome: Outcome, confidence: float | None) -> tuple[float | None, bool]:
    if outcome == "abstain":
        return 0.0, False
    return confidence, outcome == "correct"


def _threshold(completion: Completion, threshold: float | str) -> float:
    if not isinstance(threshold, str):
        return threshold
    value = completion.columns.get(threshold)
    try:
        wrong_reward(_number(value, threshold))
    except UserError as error:
        raise UserError(
            f"row {completion.index}: the column `{threshold}` holds {value!r:.60}, "
            "not a threshold in [0, 1). Mend the row, or give one number for all: "
            "(threshold=0.5)."
        ) from error
    return float(value)  # pyright: ignore[reportArgumentType]


def _number(value: object, name: str) -> float:
    check_numbers(**{name: value})
    return float(value)  # pyright: ignore[reportArgumentType]
