"""Whatever a reward returns is used, or refused by name in a sentence."""

import decimal
import fractions

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, Reward, score

ROWS = [Completion("?", x) for x in "abc"]


class Tensor:
    """As arrays of other libraries are: no list, no NumPy."""

    def __init__(self, *values):
        self.values = values

    def tolist(self):
        return list(self.values)


class Scalar:
    def __init__(self, value):
        self.value = value

    def item(self):
        return self.value


class NoText:
    def __repr__(self):
        raise RuntimeError


def score_of(value):
    return score([Reward("mine", lambda completions: value)], ROWS)


@pytest.mark.parametrize(
    "value",
    [
        [1, 0.5, -2],
        (1, 0.5, -2),
        *(np.array([1, 0.5, -2], t) for t in ("f2", "f4", "f8", "longdouble", object)),
        jnp.array([1, 0.5, -2], jnp.bfloat16),
        Tensor(1, 0.5, -2),
        [Scalar(1), Scalar(0.5), Scalar(-2)],
        [np.array([1.0]), np.float16(0.5), jnp.float32(-2)],
        [fractions.Fraction(1), decimal.Decimal("0.5"), np.int8(-2)],
    ],
)
def test_numbers_of_all_kinds(value):
    assert score_of(value).total.tolist() == [1.0, 0.5, -2.0]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", "u8", "bool"])
def test_whole_numbers_and_truths(dtype):
    assert score_of(np.array([1, 0, 1], dtype)).total.tolist() == [1.0, 0.0, 1.0]


def test_what_does_not_apply():
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    for value in ([1.0, None, 3.0], masked):
        scores = score_of(value)
        assert scores.applies.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([10**400, 1, 1], r"a number \(int\) beyond 1.8e308, on completion 0 of 3"),
        ([1, 1, np.longdouble("1e4000")], "returned inf in place of a finite number"),
        ([1, decimal.Decimal("NaN"), 1], "returned nan .* on completion 1 of 3"),
        ([1, decimal.Decimal("sNaN"), 1], r"\(Decimal\) beyond 1.8e308"),
        ([1, "1.0", 1], r"returned '1.0' \(str\) in place of a number"),
        ([1, b"1", 1], r"returned b'1' \(bytes\) in place of a number"),
        ([1, [1.0], 1], r"returned \[1.0\] \(list\) in place of a number"),
        ([1, {"score": 1}, 1], r"returned {'score': 1} \(dict\) in place of a number"),
        ([1, 1j, 1], r"returned 1j \(complex\) in place of a number"),
        (np.array(["a", "b", "c"]), r"returned 'a' \(str\) in place of a number"),
        ([1, np.ones(2), 1], r"returned array.* \(ndarray\) in place of a number"),
        ([1, NoText(), 1], r"\(NoText\) in place of a number"),
        (NoText(), r"\(NoText\), not a list of 3 numbers"),
        (np.float32(1), r"\(float32\), not a list of 3 numbers"),
        (np.array(1.0), r"\(ndarray\), not a list of 3 numbers"),
        (np.ones((3, 1)), r"returned \[1.0\] \(list\) in place of a number"),
        (np.ones((1, 3)), "returned 1 value for 3 completions"),
        ({1, 2, 3}, r"\(set\), not a list"),
        ((x for x in ROWS), r"\(generator\), not a list"),
        ([], "returned 0 values for 3 completions"),
        ([0.0] * 10**6, "returned 1000000 values for 3 completions"),
        ("abc", r"returned 'abc' \(str\), not a list"),
        (["line\nbreak" * 9, 1, 1], r"returned 'line\\n.*' \(str\) in place"),
    ],
)
def test_what_is_no_number_is_named(value, what):
    with pytest.raises(UserError, match=f"The reward `mine` .*{what}") as caught:
        score_of(value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
