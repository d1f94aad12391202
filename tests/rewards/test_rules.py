"""Graders on made-up rows whose grades were decided by hand."""

import decimal
import re
import string
from typing import Any

import numpy as np
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


@pytest.mark.parametrize(
    "text", ["An apple a day, the doctor's!", "(x) the b", "U.S.A.", "e-mail; O'Neill"]
)
def test_normalisation_of_plain_words_is_squads(text):
    assert normalized(text) == squad_normalize(text)


# One side, the other, whether they are the same, whether the second is in the first.
UNICODE = [
    ("“Paris”", "Paris", 1, 1),
    ("Hawai‘i", "Hawai'i", 1, 1),
    ("Jean–Luc", "jean-luc", 1, 1),
    ("Jean Luc", "Jean-Luc", 1, 1),
    ("e-mail", "email", 1, 1),
    ("Cafe\u0301 de Flore", "Café de Flore", 1, 1),
    ("Ｐａｒｉｓ！", "Paris", 1, 1),
    ("STRASSE", "Straße", 1, 1),
    ("ﬁre", "fire", 1, 1),
    ("Pa\u200bris\u00a0", "Paris", 1, 1),
    ("答案是巴黎。", "巴黎", 0, 1),
    ("パリです", "パリ", 0, 1),
    ("Paris.It is nice", "Paris", 0, 1),
    ("C++", "C", 0, 0),
    ("O-", "O+", 0, 0),
    ("The answer is A.", "A", 0, 1),
    ("It is a dog", "A", 0, 0),
    ("A", "A", 1, 1),
    ("The A-Team", "the", 0, 0),
]
NUMBERS_IN_TEXT = [
    ("-5", "5", 0, 0),
    ("5", "-5", 0, 0),
    ("−5", "-5", 1, 1),
    ("–5", "-5", 1, 1),
    ("it is -5 °C", "5", 0, 0),
    ("3.14", "314", 0, 0),
    ("1.5", "15", 0, 0),
    ("1,5", "15", 0, 0),
    ("(3.14)", "3.14", 1, 1),
    ("3.14.", "3.14", 1, 1),
    (".5", "0.5", 1, 1),
    ("1,000", "1000", 1, 1),
    ("10:30", "1030", 0, 0),
    ("1914–1918", "1914-1918", 1, 1),
    ("1914-1918", "19141918", 0, 0),
    ("10²", "102", 0, 0),
    ("m²", "m2", 0, 0),
    ("1½", "1 1/2", 1, 1),
    ("$5", "5", 1, 1),
    ("$5", "€5", 0, 0),
    ("-$5", "$-5", 1, 1),
    ("5 %", "5%", 1, 1),
    ("5km", "5 km", 1, 1),
    ("F-16", "F16", 1, 1),
    ("COVID-19", "-19", 0, 0),
]


@pytest.mark.parametrize(
    ("text", "answer", "same", "inside"), UNICODE + NUMBERS_IN_TEXT
)
def test_text_by_unicode_and_numbers_whole(text, answer, same, inside):
    assert one(normalized_match, text, answer) == same
    assert one(contains_answer, text, answer) == inside


# What a table holds, a completion, exact, normalised, contained, as a number.
TABLES = [
    (4.0, "4", 1, 1, 1, 1),
    (4.0, "4.0", 1, 1, 1, 1),
    (0.5, ".5", 0, 1, 1, 1),
    (float("nan"), "4", None, None, None, None),
    (np.float64("nan"), "nan", None, None, None, None),
    (np.float32(0.1), "0.1", 1, 1, 1, 1),
    (np.int64(4), "4", 1, 1, 1, 1),
    (np.array(["4", "5"]), "5", 1, 1, 1, 1),
    (np.array([4.0, 5.0]), "5", 1, 1, 1, 1),
    (("4", "5"), "5", 1, 1, 1, 1),
    (decimal.Decimal("4.00"), "4", 1, 1, 1, 1),
    (["4", 5, 6.0], "6", 1, 1, 1, 1),
]


@pytest.mark.parametrize(
    ("answer", "text", "exact", "same", "inside", "number"), TABLES
)
def test_what_tables_make_of_answers(answer, text, exact, same, inside, number):
    graders = (exact_match, normalized_match, contains_answer, number_match)
    assert [one(x, text, answer) for x in graders] == [exact, same, inside, number]


@pytest.mark.parametrize("truth", [True, np.bool_(True)])
def test_true_is_also_yes(truth):
    for text, right in (("true", 1), ("Yes", 1), ("no", 0), ("False", 0)):
        assert one(normalized_match, text, truth) == right
        assert one(normalized_match, text, not truth) == 1 - right
    assert one(exact_match, "True", truth) == 1
    assert one(contains_answer, "Yes, it is.", truth) == 1
    assert one(contains_answer, "There is no doubt: yes.", truth) == 0


def test_thoughts_are_not_graded():
    text = "<think>Paris? 4?</think> Lyon, 5"
    assert one(contains_answer, text, "Paris") == 0
    assert one(contains_answer, text, "Lyon") == 1
    assert one(number_match, text, "5") == 1
    assert one(number_match, "<think>it may be 5", "5") == 0
    assert one(number_match, "Paris? 4?</think>5", "4") == 0
    assert one(number_match, "<answer>18</answer> in 3 days", "18") == 1


NUMBERS = [
    ("The answer is 42.", "#### 42", 1),
    ("#### 42\nThat was it, at 10 o'clock.", "#### 42", 1),
    ("She has $1,234.50 left", "1234.5", 1),
    ("1, 23", "23", 1),
    ("3,14", "3.14", 1),
    ("3,14", "14", 0),
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
    ("10 000", "10000", 1),
    ("1'234'567 km", "1234567", 1),
    ("1\u202f234\u202f567", "1234567", 1),
    ("12,34,567", "1234567", 1),
    ("1.234.567,89 €", "1234567.89", 1),
    ("10.000", "10", 1),
    ("So it is 4.", r"\frac{3}{4}", 0),
    (r"The answer is $\frac{3}{4}$.", "0.75", 1),
    ("0.75", r"\frac{3}{4}", 1),
    (r"\boxed{-\dfrac{3}{4}}", "-0.75", 1),
    (r"\frac34", "3/4", 1),
    (r"$1\frac{1}{2}$", "1.5", 1),
    ("1 1/2 cups", "1.5", 1),
    ("1½", "1.5", 1),
    (r"\boxed{18} dollars over 3 days", "18", 1),
    (r"\boxed{18\text{ dollars}}", "18", 1),
    (r"\boxed{x = 5}", "5", 1),
    (r"so \boxed{1{,}000}", "1000", 1),
    (r"$1\,000$", "1000", 1),
    ("It costs 0.", r"1{,}000", 0),
    (r"\boxed{\$1,000}", "1000", 1),
    (r"\boxed{50\%}", "50", 1),
    ("0.5", "50%", 1),
    ("50 percent", "0.5", 1),
    ("0.5%", "50%", 0),
    ("5%", "0.5", 0),
    ("5 million", "5000000", 1),
    ("5 million", "5", 1),
    ("5", "5 million", 0),
    ("2.5 × 10³", "2500", 1),
    (r"2.5 \times 10^{-3}", "0.0025", 1),
    ("10^6", "1000000", 1),
    ("1e400", "1", 0),
    ("an area of 12 cm^2", "12", 1),
    ("an area of 12 m²", "12", 1),
    ("–5", "-5", 1),
    ("$-5", "-5", 1),
    ("５００円", "500", 1),
    ("٥", "5", 1),
    ("She pays 5 at 10:30 on 2024-05-03.", "5", 1),
    ("The answer is 18 dollars for 3 days.", "18", 1),
    ("The answer is 6 + 6 = 12.", "12", 1),
    ("The answer is 2 times 4, so 8.", "8", 1),
    ("Answer: 42\nThat is 6 in 7 rows.", "42", 1),
    ("0.3", 0.1 + 0.2, 1),
    ("0.30001", 0.1 + 0.2, 0),
    ("5 m/s", "5 m/s", 1),
    ("24 in May and 48 in June, so she sold 72.", "72", 1),
    ("72", "24 in May and 48 in June, so she sold 72 in all.", 1),
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
        (lambda: one(exact_match, "x", ["a", None]), "not an answer or a list"),
        (lambda: one(exact_match, "x", ["a", float("nan")]), "not an answer or a list"),
        (lambda: one(exact_match, "x", float("inf")), "row 0: `answer` is inf, not an"),
        (lambda: one(number_match, "1", "one"), "'one'.*holds no number"),
        (lambda: one(number_match, "1", "10:30"), "'10:30'.*holds no number"),
        (lambda: one(number_match, "1", "3, 4"), "several of which none is marked"),
        (lambda: one(number_match, "1", True), "holds no number"),
        (lambda: matches_pattern([], pattern="("), "no regular expression"),
        (lambda: matches_pattern([], pattern="a", where="in"), "known are search"),  # pyright: ignore
        (lambda: overlong_penalty([], max_length=3, cache=4), "at most max_length"),
        (lambda: overlong_penalty([], max_length=3, cache=0), "above 0"),
        (lambda: length_penalty([], target=-1), "0 or more tokens"),
        (lambda: length_penalty([], target="x"), "target is 'x'; it must be a number"),  # pyright: ignore
        (lambda: overlong_penalty([], max_length="x"), "max_length is 'x'"),  # pyright: ignore
        (lambda: repetition_penalty([], scale="x"), "scale is 'x'"),  # pyright: ignore
        (lambda: repetition_penalty([], ngram=1.5), "1 word or more, got 1.5"),  # pyright: ignore
        (lambda: matches_pattern([], pattern=5), "put the regular expression in"),  # pyright: ignore
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
