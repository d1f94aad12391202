"""Three outcomes, their rewards, and the threshold at which answering pays."""

from typing import Any

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import (
    Completion,
    abstention,
    abstention_reward,
    abstention_threshold,
    outcome_of,
    wrong_reward,
)
from jaxalign.rewards.abstention import is_refusal


@pytest.mark.parametrize(
    ("text", "answer", "outcome"),
    [
        ("Paris", "Paris", "correct"),
        ("It is Paris.", ["Lutetia", "Paris"], "correct"),
        ("Lyon", "Paris", "wrong"),
        ("", "Paris", "wrong"),
        ("I don't know.", "Paris", "abstain"),
        ("I don’t know that", "Paris", "abstain"),
        ("Sorry, i do not know.", "Paris", "abstain"),
        ("I don't know, maybe Paris", "Paris", "abstain"),
        ("Paris. I don't know more.", "Paris", "correct"),
        ("I don't know.", None, "abstain"),
        ("Paris", None, "wrong"),
    ],
)
def test_outcomes(text, answer, outcome):
    completion = Completion("?", text, columns={"answer": answer})
    assert outcome_of(completion) == outcome
    rewards: Any = {"correct": 2.0, "abstain": 0.5, "wrong": -1.0}
    expected = rewards[outcome]
    assert abstention([completion], **rewards) == [expected]
    assert abstention_reward(outcome, **rewards) == expected


def test_how_answers_are_compared():
    def outcome(text, answer, match):
        return outcome_of(
            Completion("?", text, columns={"answer": answer}), match=match
        )

    assert outcome("It is Paris.", "Paris", "normalized") == "wrong"
    assert outcome("the Paris!", "Paris", "normalized") == "correct"
    assert outcome("so it is 42.0", "#### 42", "number") == "correct"
    assert outcome("so it is 41", "#### 42", "number") == "wrong"
    assert outcome("so it is 41", None, "number") == "wrong"


def test_the_phrases_can_be_ones_own():
    assert is_refusal("Pass!", ["pass"])
    assert not is_refusal("I don't know", ["pass"])
    assert not is_refusal("Passau", ["pass"])
    completion = Completion("?", "Pass", columns={"answer": "Paris"})
    assert abstention([completion], refusals="pass") == [0.0]


def test_answering_pays_exactly_above_the_threshold():
    rng = np.random.default_rng(0)
    for _ in range(50):
        wrong, abstain, correct = np.sort(rng.normal(size=3)).tolist()
        t = abstention_threshold(correct=correct, abstain=abstain, wrong=wrong)
        for chance in rng.uniform(size=20):
            gain = chance * correct + (1 - chance) * wrong
            assert (gain > abstain) == (chance > t)


def test_the_wrong_reward_of_a_threshold_gives_it_back():
    for t in (0.0, 0.25, 0.5, 0.9):
        if t:
            assert abstention_threshold(wrong=wrong_reward(t)) == pytest.approx(t)
    assert wrong_reward(0.0) == 0.0
    with pytest.raises(UserError, match=r"in \[0, 1\), got 1"):
        wrong_reward(1.0)


def test_orders_that_mean_nothing():
    with pytest.raises(UserError, match=r"correct \(1\) must be above wrong \(1\)"):
        abstention([], correct=1.0, wrong=1.0)
    with pytest.warns(UserWarning, match="to abstain is never worth while"):
        abstention([], abstain=-1.0)
    with pytest.warns(UserWarning, match="to answer is never worth while"):
        abstention([], abstain=1.0)
    with pytest.raises(UserError, match="known are normalized, contains"):
        abstention([], match="exact")  # pyright: ignore
    with pytest.raises(UserError, match="one of them is empty"):
        abstention([], refusals=["..."])
