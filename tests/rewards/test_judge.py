"""Judges: what they are asked, how their replies are read, both orders."""

import hashlib

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import (
    Completion,
    comparing_judge,
    preferences,
    rating_judge,
    rival_judge,
)

PROMPTS = ["p", "q", "r"] * 10
FIRST = [f"first {i}" for i in range(30)]
SECOND = [f"second {i}" for i in range(30)]


def moody(requests):
    """A judge whose verdict depends on every letter of the request."""
    letters = [hashlib.sha256(x.encode()).digest()[0] % 3 for x in requests]
    return [f"Hm. [[A]] no, [[{'ABC'[i]}]]" for i in letters]


def test_both_orders_together_are_exactly_antisymmetric():
    there = preferences(moody, PROMPTS, FIRST, SECOND)
    back = preferences(moody, PROMPTS, SECOND, FIRST)
    np.testing.assert_array_equal(there + back, np.ones(30))
    assert len(set(there.tolist())) > 2


def test_a_judge_with_a_taste_and_one_with_a_place():
    def taste(requests):
        return [
            "[[A]]" if x.index("first") < x.index("second") else "[[B]]"
            for x in requests
        ]

    template = "{prompt} 1: {first} 2: {second}"
    got = preferences(taste, PROMPTS, FIRST, SECOND, template=template)
    np.testing.assert_array_equal(got, np.ones(30))
    place = preferences(lambda x: ["[[A]]"] * len(x), PROMPTS, FIRST, SECOND)
    np.testing.assert_array_equal(place, np.full(30, 0.5))


def test_the_judge_is_asked_once_about_all():
    calls = []

    def judge(requests):
        calls.append(requests)
        return ["[[C]]", "no verdict", "[[C]]", "[[C]]"]

    got = preferences(
        judge, ["p", "q"], ["a", "b"], ["c", "d"], template="{prompt}{first}{second}"
    )
    assert calls == [["pac", "qbd", "pca", "qdb"]]
    np.testing.assert_array_equal(got, [0.5, np.nan])


def test_grades_are_a_share_of_the_scale():
    replies = [
        "[[1]]",
        "1 of 10, I mean [[5.5]]",
        "[[3]] or rather [[ 10 ]]",
        "[[11]]",
        "7",
    ]
    judge = rating_judge(lambda requests: replies)
    assert judge([Completion("?", "x")] * 5) == [0.0, 0.5, 1.0, None, None]


def test_answers_cannot_smuggle_in_a_placeholder():
    seen = []

    def judge(requests):
        seen.extend(requests)
        return ["[[1]]"]

    template = 'Reply {"grade": ...}. {prompt}|{completion}|{gold}|{unknown}'
    completion = Completion("{gold}", "{prompt}", columns={"gold": 4, "prompt": "no"})
    rating_judge(judge, template=template)([completion])
    assert seen == ['Reply {"grade": ...}. {gold}|{prompt}|4|{unknown}']


def test_a_column_to_beat():
    judge = comparing_judge(
        lambda requests: ["[[A]]" if "A:\nbetter" in x else "[[B]]" for x in requests],
        column="gold",
    )
    rows = [Completion("?", x, columns={"gold": "fair"}) for x in ("better", "fair")]
    assert judge(rows) == [1.0, 0.5]
    with pytest.raises(UserError, match="row 0 has no text in a column `gold`"):
        judge([Completion("?", "x")])


def test_rivals_are_compared_with_each_other_to_their_prompt():
    def larger(requests):
        pairs = [map(int, x.split("|")[1:]) for x in requests]
        return ["[[C]]" if a == b else "[[A]]" if a > b else "[[B]]" for a, b in pairs]

    rows = {0: [3, 1, 2, 1], 1: [4, 5], 2: [9]}
    completions = [
        Completion("p", str(x), index=i) for i, group in rows.items() for x in group
    ]
    got = rival_judge(larger, template="{prompt}|{first}|{second}")(completions)

    def mean_win(group, x, skip):
        others = [y for n, y in enumerate(group) if n != skip]
        wins = [1.0 if x > y else 0.5 if x == y else 0.0 for y in others]
        return sum(wins) / len(wins) if wins else None

    expected = [mean_win(g, x, n) for g in rows.values() for n, x in enumerate(g)]
    assert got == expected
    assert expected[:2] == [1.0, 1 / 6]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rating_judge(moody, template="{prompt}"), "has no {completion}"),
        (
            lambda: comparing_judge(moody, template="x"),
            "no {prompt} and no {first} and",
        ),
        (lambda: rating_judge(moody, lowest=1, highest=1), "must be below highest"),
        (
            lambda: rating_judge(lambda x: [])([Completion("?", "x")]),
            "gave 0 replies to 1 requests",
        ),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()
