"""Graders on made-up rows whose grades were decided by hand."""

import re
import string
from typing import Any

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import (
    Completion,
    contains_answer,
    exact_match,
    length_penalty,
    matches_pattern,
    normalized_match,
    number_match,
    overlong_penalty,
    repetition_penalty,
    stopped,
)
from jaxalign.rewards.matching import normalized


def one(reward, text, answer: Any = ..., **parameters):
    columns = {} if answer is ... else {"answer": answer}
    (value,) = reward([Completion("?", text, columns=columns)], **parameters)
    return value


# text, accepted, exact, normalised, contained
ANSWERS = [
    ("Paris", "Paris", 1, 1, 1),
    (" Paris\n", "Paris", 1, 1, 1),
    ("paris.", "Paris", 0, 1, 1),
    ("The Beatles", ["Beatles"], 0, 1, 1),
    ("It was Paris, France.", ["Lyon", "Paris"], 0, 0, 1),
    ("Parisians", "Paris", 0, 0, 0),
    ("14 December 1972", "December 1972", 0, 0, 1),
    ("December 14, 1972", "December 1972", 0, 0, 0),
    ("U.S.A.", "USA", 0, 1, 1),
    ("", "Paris", 0, 0, 0),
    ("the", "a", 0, 0, 0),
    ("", "", 1, 0, 0),
    ("4", 4, 1, 1, 1),
    ("Königsberg", "Königsberg", 1, 1, 1),
    ("anything", [], 0, 0, 0),
    ("anything", None, None, None, None),
]


@pytest.mark.parametrize(("text", "answer", "exact", "same", "inside"), ANSWERS)
def test_answers(text, answer, exact, same, inside):
    assert one(exact_match, text, answer) == exact
    assert one(normalized_match, text, answer) == same
    assert one(contains_answer, text, answer) == inside


def squad_normalize(s):
    """The steps of the published evaluation script, one after another."""
    s = s.lower()
    s = "".join(ch for ch in s if ch not in set(string.punctuation))
    s = re.sub(r"\b(a|an|the)\b", " ", s)
    return " ".join(s.split())


@pytest.mark.parametrize("text", ["A-an THE.the", "an apple a day", "(a) the b", "—"])
def test_normalisation_is_squads(text):
    assert normalized(text) == squad_normalize(text)


NUMBERS = [
    ("The answer is 42.", "#### 42", 1),
    ("#### 42\nThat was it, at 10 o'clock.", "#### 42", 1),
    ("She has $1,234.50 left", "1234.5", 1),
    ("1,23", "23", 1),
    ("5-3", "3", 1),
    ("it is -3", "-3", 1),
    ("it is −3", "-3", 1),
    ("it is 3", "-3", 0),
    ("a loss of -$5", -5, 1),
    ("half, that is 1/2", "0.5", 1),
    (".5 of it", "1/2", 1),
    ("50%", "50", 1),
    ("5km", "5", 1),
    ("in v1.2 they are 7 m2", "7", 1),
    ("10 000", "0", 1),
    ("42.0", "42", 1),
    ("42.01", "42", 0),
    ("2e3", 2000, 1),
    ("7/0", "7", 0),
    ("none", "7", 0),
    ("", "7", 0),
    ("0", "0", 1),
    ("9" * 5000, "9", 0),
    ("either 3 or 4", ["3", "4"], 1),
    ("anything", None, None),
]


@pytest.mark.parametrize(("text", "answer", "grade"), NUMBERS)
def test_numbers(text, answer, grade):
    assert one(number_match, text, answer) == grade


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: one(exact_match, "x"),
            "row 0 has no column `answer`.*columns are none",
        ),
        (
            lambda: one(exact_match, "x", {"a": 1}),
            r"row 0: `answer` is {'a': 1}, not an",
        ),
        (lambda: one(number_match, "1", "one"), "'one'.*holds no number"),
        (lambda: matches_pattern([], pattern="("), "no regular expression"),
        (lambda: matches_pattern([], pattern="a", where="in"), "known are search"),  # pyright: ignore
        (lambda: overlong_penalty([], max_length=3, cache=4), "at most max_length"),
        (lambda: overlong_penalty([], max_length=3, cache=0), "above 0"),
        (lambda: length_penalty([], target=-1), "0 or more tokens"),
        (lambda: repetition_penalty([], ngram=0), "1 word or more"),
        (lambda: repetition_penalty([], scale=-1), "0 or more"),
    ],
)
def test_nonsense_is_refused_even_without_completions(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_patterns():
    text = "<answer>4\n5</answer> "
    assert one(matches_pattern, text, pattern="<answer>.*</answer>") == 0
    assert one(matches_pattern, text, pattern="<answer>.*</answer>", where="match") == 1
    assert one(matches_pattern, text, pattern="4.5", where="search") == 1
    assert one(matches_pattern, text, pattern="4.5", where="match") == 0


def test_stopped():
    assert one(stopped, "x") == 1
    assert stopped([Completion("?", "x", stopped=False)]) == [0]


def test_overlong_penalty_is_the_papers_at_every_length():
    longest, cache = 12, 5
    for n in range(16):
        if n <= longest - cache:
            expected = 0.0
        elif n <= longest:
            expected = ((longest - cache) - n) / cache
        else:
            expected = -1.0
        (got,) = overlong_penalty(
            [Completion("?", "", ids=[0] * n)], max_length=longest, cache=cache
        )
        assert got == expected, n


def test_repetition_counts_what_occurred_before():
    text, n = "A b a B a b c", 2
    seen, again, grams = set(), 0, 0
    words = text.lower().split()
    for i in range(len(words) - n + 1):
        gram = " ".join(words[i : i + n])
        again += gram in seen
        grams += 1
        seen.add(gram)
    assert one(repetition_penalty, text, ngram=n, scale=2.0) == pytest.approx(
        -2.0 * again / grams
    )
    assert one(repetition_penalty, "one", ngram=2) == 0
