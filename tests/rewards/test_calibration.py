"""Stated confidence as it is written, and rewards whose best is to tell the truth."""

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import (
    Completion,
    abstains,
    abstention,
    brier,
    confidence_target,
    load_rewards,
    log_score,
    outcomes,
    stated_confidence,
    target_instruction,
)

STATED = [
    ("It is Rome. Confidence: 85%", 0.85, "It is Rome."),
    ("Rome (confidence 0.85)", 0.85, "Rome"),
    ("Rome\n**Confidence:** 85 %", 0.85, "Rome\n**"),
    ("Rome. Confidence: 85", 0.85, "Rome."),
    ("Rome. Confidence: 8/10", 0.8, "Rome."),
    ("Rome. Confidence: 85 out of 100", 0.85, "Rome."),
    ("Rome. Confidence = .5", 0.5, "Rome."),
    ("Rome. Confidence: 0,85", 0.85, "Rome."),
    ("Rome. Confidence: １００％", 1.0, "Rome."),
    ("Rome. Confidence: 1", 1.0, "Rome."),
    ("Rome. Confidence: 1%", 0.01, "Rome."),
    ("Rome. Confidence: 0", 0.0, "Rome."),
    ("<confidence>0.3</confidence> Rome", 0.3, "Rome"),
    ("I am 70% sure that it is Rome", 0.7, "it is Rome"),
    ("Rome. I'm about 70 percent confident.", 0.7, "Rome."),
    ("Rome. My confidence is high", 0.7, "Rome."),
    ("Rome, with 70% confidence.", 0.7, "Rome,"),
    ("Rome. I am only 10% sure of this.", 0.1, "Rome."),
    ("Rome, 80% sure", 0.8, "Rome,"),
    ("Rome (probability 0.8)", 0.8, "Rome"),
    ("Rome. Likelihood: 80%", 0.8, "Rome."),
    ("Rome. Confidence: very low", 0.1, "Rome."),
    ("Rome. Confidence: almost certain", 0.93, "Rome."),
    ("Confidence: 20%. No, confidence: 60%", 0.6, ". No,"),
    ('{"answer": "Rome", "confidence": 0.9}', 0.9, None),
    ("Rome. Confidence: 0.85 (85%)", 0.85, "Rome."),
    ("Rome. Confidence: Very high (95%)", 0.95, "Rome."),
    ("Rome. Confidence: >95%", 0.95, "Rome."),
    ("Rome. Confidence: 120%", None, "Rome."),
    # Stated, but not as one number that is known.
    ("Rome. Confidence: 1e-3", None, "Rome."),
    ("Rome. Confidence: 8 of 10", None, "Rome."),
    ("Rome. Confidence: 8 on a scale to 10.", None, "Rome. ."),
    ("Rome. Confidence: 80-90%", None, "Rome."),
    ("Rome. Confidence: 80 to 90 %", None, "Rome. %"),
    ("Rome. Confidence: 4/5", None, "Rome."),
    ("Rome. Confidence: 250", None, "Rome."),
    # Denied, or the answer itself.
    ("I'm not 100% sure, but it is Rome", None, None),
    ("I can't be 90% certain.", None, None),
    ("I'm far from 100% sure, but it is Rome", None, None),
    ("It is less than 100% certain that it is Rome", None, None),
    ("Ich bin nicht 100% sicher.", None, None),
    ("Probability: 0.25", None, "Probability: 0.25"),
    ("1 of 4 is red. So the probability is 0.25.", None, None),
    ("It rains with a probability of 0.3.", None, None),
    ("The probability is 0.25. Confidence: 90%", 0.9, "The probability is 0.25."),
    ("The confidence is 25/36", None, None),
    ("A 95% confidence interval", None, "A 95% confidence interval"),
    ("Rome, of 85% of the votes", None, "Rome, of 85% of the votes"),
    ("The confidence of the people in Rome", None, None),
    ("", None, ""),
]


@pytest.mark.parametrize(("text", "confidence", "rest"), STATED)
def test_confidence_as_it_is_stated(text, confidence, rest):
    found = stated_confidence(text)
    assert found.confidence == (
        None if confidence is None else pytest.approx(confidence)
    )
    if rest is not None:
        assert " ".join(found.rest.split()) == " ".join(rest.split())
    elif confidence is None:
        assert found.rest == text


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("I don't know. Confidence: 30%", "abstain"),
        ("<confidence>0.3</confidence> I am not sure", "abstain"),
        ("My confidence is low: I don't know", "abstain"),
        ("No idea (confidence 0.1)", "abstain"),
        ("Je ne sais pas. Confiance : 20 %", "abstain"),
        ("我不知道。置信度：30%", "abstain"),
        ("I don't know, with 18% confidence.", "abstain"),
        ("I'm not 100% sure.", "abstain"),
        ("18, 80% sure", "correct"),
        ("I am 20% sure it is 18", "correct"),
        ("I am 18% sure it is 20", "wrong"),
        ("It is 20. Confidence: 18%", "wrong"),
        ("Confidence: 18%", "wrong"),
        ("I don't know. Confidence: 30%. But maybe 18.", "correct"),
        ("The probability is 18.", "correct"),
        ("Probability: 18", "correct"),
        ("18. Confidence: 0.85 (85%)", "correct"),
        ("18. Confidence: Very high (95%)", "correct"),
        ("18. Confidence: 80-90%", "correct"),
        ("20. Confidence: >18%", "wrong"),
    ],
)
@pytest.mark.parametrize("match", ["number", "contains"])
def test_what_states_a_confidence_is_no_part_of_the_answer(text, outcome, match):
    """All rewards, their detector and a list of phrases see the same answer."""
    row = {"answer": "18", "threshold": 0.75}
    completion = [Completion("?", text, columns=row)]
    assert abstains(text) == (outcome == "abstain")
    assert outcomes(completion, match=match) == [outcome]
    worth = {"correct": 1.0, "abstain": 0.0, "wrong": -3.0}[outcome]
    assert abstention(completion, match=match, wrong=-3.0) == [worth]
    assert confidence_target(completion, match=match) == [worth]
    (by_brier,) = brier(completion, match=match, unstated=-1.0)
    # What is right is worth 1 − (1 − q)² ≥ 0 if q is stated at all.
    assert (by_brier == 0.0) == (outcome == "abstain")
    if stated_confidence(text).confidence is not None:
        assert (by_brier > 0) == (outcome == "correct")


def test_phrases_and_detectors_see_no_confidence_either():
    shown = []

    def detector(completions):
        shown.extend(x.completion for x in completions)
        return [False for _ in completions]

    rows = [Completion("?", "Rome. Confidence: low", columns={"answer": "Rome"})]
    assert outcomes(rows, refusals=["low"]) == ["correct"]
    assert outcomes(rows, detector=detector, match="normalized") == ["correct"]
    assert shown == ["Rome."]


def test_one_token_of_ten():
    values = [
        stated_confidence(f"Rome. Confidence: {d}", tenths=True).confidence
        for d in range(10)
    ]
    assert values == pytest.approx(np.arange(0.05, 1, 0.1).tolist())
    assert stated_confidence("Confidence: 8%", tenths=True).confidence == 0.08


def rewards_of(function, q, **settings):
    """The rewards of being right and of being wrong with a confidence of q."""
    right, wrong = (
        Completion("?", f"{x}. Confidence: {q:.3f}", columns={"answer": "Rome"})
        for x in ("Rome", "Oslo")
    )
    return function([right, wrong], **settings)


GRID = np.arange(0.0, 1.0005, 0.01)


@pytest.mark.parametrize("function", [brier, log_score])
def test_the_truth_is_worth_the_most_and_knowing_more_is_worth_more(function):
    right, wrong = np.array([rewards_of(function, q) for q in GRID]).T
    best = []
    for p in np.arange(0.05, 0.96, 0.1):
        expected = p * right + (1 - p) * wrong
        assert GRID[expected.argmax()] == pytest.approx(p, abs=1e-6)
        best.append(expected.max())
    assert (np.diff(best) > 0).all()


def test_beyond_its_bound_the_log_score_pays_for_being_wrong():
    clip = 0.01
    bound = 1 / np.log((1 - clip) / clip)
    worth = {}
    for scale in (0.95 * bound, 3 * bound):
        right, wrong = np.array(
            [rewards_of(log_score, q, scale=scale, clip=clip) for q in GRID]
        ).T
        worth[scale] = [
            (p * right + (1 - p) * wrong).max() for p in np.linspace(clip, 1 - clip, 50)
        ]
    low, high = worth.values()
    assert (np.diff(low) > 0).all()
    assert not (np.diff(high) > 0).all()


def test_the_values_are_those_of_the_formulas():
    for q in (0.0, 0.25, 0.9, 1.0):
        assert rewards_of(brier, q) == pytest.approx([1 - (q - 1) ** 2, -(q**2)])
        held = min(max(q, 0.1), 0.9)
        expected = [1 + 0.5 * np.log(held), 0.5 * np.log(1 - held)]
        assert rewards_of(log_score, q, clip=0.1, scale=0.5) == pytest.approx(expected)
    row = {"answer": "18"}
    texts = ["It is 18. Confidence: 90%", "It is 90. Confidence: 18%", "18", "No idea."]
    completions = [Completion("?", x, columns=row) for x in texts]
    found = brier(completions, match="number", unstated=-0.5)
    assert found == pytest.approx([0.99, -(0.18**2), -0.5, 0.0])
    found = log_score(completions, match="number", clip=0.1, scale=1.0)
    expected = [1 + np.log(0.9), np.log(0.82), np.log(0.1), np.log(0.9)]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 0.9])
def test_answering_pays_above_the_target(t):
    row = {"answer": "Rome", "threshold": t}
    texts = ("Rome", "Oslo", "I'm not sure.")
    completions = [Completion("?", x, columns=row) for x in texts]
    right, wrong, silent = confidence_target(completions)
    assert confidence_target(completions, threshold=t) == [right, wrong, silent]
    assert (right, silent) == (1, 0)
    for p in np.linspace(0.01, 0.99, 50):
        assert (p * right + (1 - p) * wrong > silent) == (p > t)
    assert f"more than {100 * t:g}% confident" in target_instruction(t)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: confidence_target([], threshold=1.0), r"in \[0, 1\), got 1"),
        (lambda: confidence_target([], threshold=True), "must be a number"),
        (
            lambda: confidence_target([Completion("?", "x", columns={"answer": "x"})]),
            "row 0: the column `threshold` holds None, not a threshold",
        ),
        (
            lambda: confidence_target(
                [Completion("?", "x", columns={"answer": "x", "t": "0.5"})],
                threshold="t",
            ),
            "column `t` holds '0.5'",
        ),
        (lambda: log_score([], clip=0.5), r"clip \(0.5\) must be in"),
        (lambda: log_score([], scale=0), "scale .* above 0"),
        (lambda: brier([], unstated="low"), "unstated is 'low'"),  # pyright: ignore
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_they_have_names_on_the_command_line():
    texts = ["brier(match=number)", "log_score(scale=0.1)", "confidence_target=0.5"]
    assert [x.name for x in load_rewards(texts)] == [
        "brier",
        "log_score",
        "confidence_target",
    ]
