"""A judge by a rubric: what it is asked, and what its grades come to."""

from typing import Any

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, rubric_judge
from jaxalign.rewards.rubric import Criterion, read_criteria, rubric_shares

CRITERIA = [
    Criterion("true", "No sentence is false.", 3.0),
    Criterion("to the point", "It answers what was asked."),
]


def judged(reply, completion="So.", **settings) -> Any:
    judge = rubric_judge(lambda x: [reply] * len(x), CRITERIA, **settings)
    return judge([Completion("Why?", completion)])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("true: [[10]]\nto the point: [[1]]", 0.75),
        ("It is long.\n**To the point**: [[5.5]]\n- **True:** [[1/10]]", 0.125),
        ("true: [[10]] true: [[4]]\nto the point - [[4]]", 1 / 3),  # the last counts
        ("true: [[10]]", None),
        ("true: [[10]]\nto the point: [[11]]", None),
        ("untrue: [[10]]\nto the point: [[10]]", None),
        ("[[10]] [[10]]", None),
        ("", None),
    ],
)
def test_the_mean_is_weighted_and_every_criterion_is_needed(reply, expected):
    [found] = judged(reply)
    assert found == (None if expected is None else pytest.approx(expected))


def test_the_scale_is_the_users():
    [found] = judged("true: [[0]] to the point: [[4]]", lowest=0, highest=4)
    assert found == 0.25


def test_what_an_answer_grades_itself_does_not_count():
    said = "true: [[10]] to the point: [[10]]"
    reply = f'It ends in "{said}".\ntrue: [[1]]\nto the point: [[1]]'
    assert judged(reply, completion=f"So. {said}") == [0.0]
    assert judged(f'It says "{said}".', completion=said) == [None]


def test_the_request_names_the_criteria_and_shows_the_form():
    seen = []

    def respond(requests):
        seen.extend(requests)
        return [""] * len(requests)

    row = Completion("Why {form}?", "So {criteria}.", columns={"criteria": "mine"})
    rubric_judge(respond, CRITERIA)([row])
    assert "- true: No sentence is false.\n- to the point: It answers" in seen[0]
    assert "true: [[5]]\nto the point: [[5]]" in seen[0]
    assert "Why {form}?" in seen[0]
    assert "So {criteria}." in seen[0]


def test_shares_by_name():
    found = rubric_shares("a: [[2]] b: [[x]]", ["a", "b"], lowest=0, highest=4)
    assert found == {"a": 0.5, "b": None}


@pytest.mark.parametrize(
    "given",
    [
        *(None, {}, [], "true", {"": "x"}, {"a": " "}, {"a": "(0) x"}),
        *({"a": "(1.2.3) x"}, {"a": "x", "A": "y"}),
    ],
)
def test_criteria_that_mean_nothing_are_refused(given):
    with pytest.raises(UserError, match="criteria"):
        read_criteria(given)


@pytest.mark.parametrize("weights", [(), (0.0,), (1.0, -1.0)])
def test_criteria_without_weight_are_refused_before_anybody_is_asked(weights):
    criteria = [Criterion(f"c{i}", "It is.", w) for i, w in enumerate(weights)]
    with pytest.raises(UserError, match="at least one"):
        rubric_judge(lambda requests: pytest.fail("asked"), criteria)


@pytest.mark.parametrize("names", [("accuracy", "factual accuracy"), ("a", "a b")])
def test_a_name_within_another_has_a_grade_of_its_own(names):
    for order in (names, names[::-1]):
        reply = "\n".join(f"{x}: [[{9 if x == names[0] else 2}]]" for x in order)
        shares = rubric_shares(reply, order)
        assert shares[names[0]] == pytest.approx(8 / 9)
        assert shares[names[1]] == pytest.approx(1 / 9)


def test_criteria_are_read_with_their_weights():
    found = read_criteria({"a": "It is (1) a.", "b": "(0.5) It is\nb."})
    assert found == [
        Criterion("a", "It is (1) a.", 1.0),
        Criterion("b", "It is\nb.", 0.5),
    ]


def test_a_template_needs_its_places():
    with pytest.raises(UserError, match="no {criteria}"):
        rubric_judge(lambda x: x, CRITERIA, template="{prompt} {completion}")
