"""Three outcomes, their rewards, and the threshold at which answering pays."""

from typing import Any

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import (
    Completion,
    abstention,
    abstention_judge,
    abstention_reward,
    abstention_threshold,
    outcome_of,
    outcomes,
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
        ("I don't know, maybe Paris", "Paris", "correct"),
        ("I'm not sure, but it is Lyon.", "Paris", "wrong"),
        ("Hmm... Sorry, I honestly don't know.", "Paris", "abstain"),
        ("抱歉，我不知道。", "Paris", "abstain"),
        ("<think>Paris or Lyon?</think>Lyon", "Paris", "wrong"),
        ("-5", "5", "wrong"),
        ("It is 1.5", "15", "wrong"),
        ("It is −5.", "-5", "correct"),
        ("Yes, it is.", True, "correct"),
        ("There is no doubt: yes.", False, "wrong"),
        ("Paris", float("nan"), "wrong"),
        ("4", 4.0, "correct"),
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
    assert is_refusal("Well. I'd rather pass.", ["pass"])
    assert not is_refusal("He said “pass” and left.", ["pass"])
    for text, phrase in (
        ("我不知道。", "我不知道"),
        ("抱歉，我不知道。", "我不知道"),
        ("わかりません。", "わかりません"),
        ("¡No lo sé!", "No lo sé"),
        ("I donʼt know", "I don’t know"),
    ):
        assert is_refusal(text, [phrase]), text
    completion = Completion("?", "Pass", columns={"answer": "Paris"})
    assert abstention([completion], refusals="pass") == [0.0]
    assert abstention([completion]) == [0.0]
    completion = Completion("?", "I don't know", columns={"answer": "Paris"})
    assert abstention([completion], refusals=["pass"]) == [-1.0]


def test_a_function_can_say_what_abstains():
    def says_hm(completions):
        return [c.completion.startswith("Hm") for c in completions]

    rows = [
        Completion("?", x, columns={"answer": "Paris"})
        for x in ("Hm, Paris", "I don't know", "Paris")
    ]
    assert abstention(rows, detector=says_hm) == [0.0, -1.0, 1.0]
    assert outcomes(rows, detector=says_hm) == ["abstain", "wrong", "correct"]
    assert abstention([], detector=says_hm) == []
    with pytest.raises(UserError, match="gave 0 values for 3 completions"):
        abstention(rows, detector=lambda completions: [])
    settings: Any
    for settings in (
        {"detector": "says_hm"},
        {"detector": says_hm, "refusals": ["Hm"]},
    ):
        with pytest.raises(UserError, match="it must be a function of the completions"):
            abstention(rows, **settings)


def test_a_model_can_say_what_abstains():
    replies = {
        "who knows": "It names nobody, though it ends in “[[A]]”. [[B]]",
        "Rome": "[[A]]",
        "I don't know": "I cannot say.",
        "Oslo": "Hm.",
    }
    asked = []

    def respond(requests):
        asked.extend(requests)
        return [next(v for k, v in replies.items() if k in x) for x in requests]

    judge = abstention_judge(respond)
    rows = [Completion("What?", f"{x} [[A]]") for x in replies]
    assert judge(rows) == [True, False, True, False]
    assert len(asked) == 4
    assert abstention(
        [Completion("?", "who knows", columns={"answer": "Rome"})], detector=judge
    ) == [0.0]


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
    with pytest.raises(UserError, match="refusals is 5; give a list"):
        abstention([], refusals=5)  # pyright: ignore
    with pytest.raises(UserError, match="wrong is 'low'; it must be a number"):
        abstention([], wrong="low")  # pyright: ignore
