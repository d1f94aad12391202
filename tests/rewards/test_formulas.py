"""Formulas: what is read without math-verify, and what it says with it."""

import importlib.util
import threading
import time

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, abstention, number_match
from jaxalign.rewards.reading.formula_process import FormulaProcess
from jaxalign.rewards.reading.latex import _warn

needs_math_verify = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="the extra math is missing"
)


def grade(text, answer):
    (value,) = number_match([Completion("?", text, columns={"answer": answer})])
    return value


@pytest.fixture
def without_math_verify(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda x: None if x == "math_verify" else find(x)
    )
    _warn.cache_clear()


@pytest.mark.parametrize(
    "answer", [r"\sqrt{2}", "x^2 + 1", r"$\pi$", "2x+1", "(1, 2)", r"\text{B}"]
)
def test_a_formula_needs_the_extra(without_math_verify, answer):
    for text in ("The answer is 2.", r"\boxed{2}"):
        with pytest.raises(UserError, match=r"is a formula.*jaxalign\[math\]"):
            grade(text, answer)


def test_a_completion_with_a_formula_is_wrong_and_told(without_math_verify):
    with pytest.warns(UserWarning, match="counts as wrong since math-verify"):
        assert grade(r"\boxed{\sqrt{16}}", "16") == 0


def test_plain_numbers_in_latex_need_nothing(without_math_verify):
    assert grade(r"$\frac{3}{4}$", "0.75") == 1
    assert grade("3/4", r"$\tfrac{3}{4}$") == 1


@needs_math_verify
@pytest.mark.parametrize(
    ("text", "answer", "right"),
    [
        (r"The answer is $\sqrt{2}$.", r"\sqrt{2}", 1),
        (r"so \boxed{(x+1)^2}", "x^2 + 2x + 1", 1),
        ("$x^3$", "x^2", 0),
        (r"$(1, 2)$", "(1, 2)", 1),
        (r"$(2, 1)$", "(1, 2)", 0),
        (r"\boxed{\sqrt{16}}", "4", 1),
        (r"\boxed{\sqrt{16}}", "16", 0),
        (r"\boxed{\frac{\sqrt{3}}{2}}", r"\sqrt{3}/2", 1),
        (r"<think>$\sqrt{3}$</think> $\sqrt{2}$", r"\sqrt{2}", 1),
    ],
)
def test_formulas(text, answer, right):
    assert grade(text, answer) == right
    (reward,) = abstention(
        [Completion("?", text, columns={"answer": answer})], match="number"
    )
    assert reward == (1 if right else -1)


@needs_math_verify
def test_a_hopeless_formula_costs_its_time_and_no_more():
    process = FormulaProcess(time_limit=1.0)
    try:
        assert process.same("4", r"\boxed{\sqrt{16}}")
        begun = time.monotonic()
        with pytest.warns(UserWarning, match="within 1 s.*counts as wrong"):
            assert not process.same("9", r"\boxed{9^{9^{9^{9}}}}")
        assert time.monotonic() - begun < 20
        assert process.same("4", r"\boxed{\sqrt{16}}")
    finally:
        process.close()


@needs_math_verify
def test_any_thread_may_ask():
    found = []

    def ask(n):
        found.append(grade(rf"\boxed{{\sqrt{{{n * n}}}}}", str(n)))

    threads = [threading.Thread(target=ask, args=(n,)) for n in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1, 1]
