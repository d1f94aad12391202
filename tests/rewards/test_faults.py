"""Every way in which a reward function can fail: a paragraph, or its fallback."""

import asyncio
import math
import sys
import threading
import time

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, Reward, score

LIMIT = 0.3
COMPLETIONS = [Completion(f"prompt {i}", f"answer {i}", index=10 + i) for i in range(4)]
BAD = 2


def ones(completions):
    return [1.0] * len(completions)


def with_bad(value):
    """A function that gives `value` to one of the completions."""

    def function(completions):
        return [value if c.index == 10 + BAD else 1.0 for c in completions]

    return function


def raises_on_one(completions):
    return [1.0 / (c.index - 10 - BAD) ** 2 for c in completions]


def raises_on_the_batch(completions):
    if len(completions) > 1:
        raise RuntimeError("too many")
    return [1.0]


def leaves(completions):
    sys.exit(3)


def sleeps(completions):
    time.sleep(5)
    return ones(completions)


async def sleeps_politely(completions):
    await asyncio.sleep(5)
    return ones(completions)


async def sleeps_rudely(completions):
    time.sleep(5)
    return ones(completions)


async def raises_async(completions):
    await asyncio.sleep(0)
    raise TimeoutError("server said no")


def counts(change):
    return lambda completions: [1.0] * (len(completions) + change)


def returns(value):
    return lambda completions: value


SECOND = f"on completion {BAD} of 4: row 12, prompt 'prompt 2', completion 'answer 2'"
WHOLE = "on a call with 4 completions, the first: row 10, prompt 'prompt 0'"
FAULTS = {
    "raises on one": (raises_on_one, f"raised ZeroDivisionError: .*{SECOND}"),
    "raises on the batch": (raises_on_the_batch, f"RuntimeError: too many .*{WHOLE}"),
    "exits": (leaves, "raised SystemExit: 3 .*on completion 0 of 4"),
    "raises, async": (raises_async, "raised TimeoutError: server said no"),
    "hangs": (sleeps, f"did not end within 0.3 seconds, {WHOLE}"),
    "hangs, async": (sleeps_politely, f"did not end within 0.3 seconds, {WHOLE}"),
    "blocks, async": (sleeps_rudely, f"did not end within 0.3 seconds, {WHOLE}"),
    "NaN": (with_bad(math.nan), f"returned nan in place of a finite number, {SECOND}"),
    "inf": (with_bad(math.inf), f"returned inf in place .*{SECOND}"),
    "-inf, NumPy": (with_bad(np.float32(-np.inf)), f"returned -inf .*{SECOND}"),
    "text": (
        with_bad("1.0"),
        rf"returned '1.0' \(str\) in place of a number, {SECOND}",
    ),
    "nested": (with_bad([1.0]), rf"returned \[1.0\] \(list\) in place .*{SECOND}"),
    "complex": (with_bad(1j), rf"returned 1j \(complex\) in place .*{SECOND}"),
    "too few": (counts(-1), f"returned 3 values for 4 completions, {WHOLE}"),
    "too many": (counts(1), f"returned 5 values for 4 completions, {WHOLE}"),
    "one number": (returns(1.0), r"returned 1.0 \(float\), not a list of 4 numbers"),
    "nothing": (returns(None), "returned None, not a list of 4 numbers"),
    "a dict": (returns({"a": 1}), r"returned {'a': 1} \(dict\), not a list"),
    "a text of length 4": (returns("1111"), r"returned '1111' \(str\), not a list"),
    "a column": (returns(np.ones((4, 1))), r"returned \[1.0\] \(list\) in place of"),
}
HANGS = {name for name in FAULTS if name.startswith(("hangs", "blocks"))}
ON_ONE = {"NaN", "inf", "-inf, NumPy", "text", "nested", "complex", "raises on one"}


def limit(name):
    return LIMIT if name in HANGS else 60.0


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_paragraph(name):
    function, message = FAULTS[name]
    with pytest.raises(UserError, match=message) as caught:
        score([Reward("mine", function, time_limit=limit(name))], COMPLETIONS)
    text = str(caught.value)
    assert text.startswith("The reward `mine` ")
    assert "\n" not in text
    assert "mine(fallback=0)" in text


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_gets_the_fallback_and_is_counted(name):
    function, _ = FAULTS[name]
    mine = Reward("mine", function, weight=2.0, fallback=-0.5, time_limit=limit(name))
    scores = score([mine, Reward("ones", ones)], COMPLETIONS)
    bad = [i == BAD for i in range(4)] if name in ON_ONE else [True] * 4
    if name == "raises on the batch":  # and on none of its completions
        bad = [False] * 4
    good = [0.25, 1.0, 1.0, 1.0] if name == "raises on one" else [1.0] * 4
    expected = np.where(bad, -0.5, good)
    np.testing.assert_array_equal(scores.values["mine"], expected)
    np.testing.assert_array_equal(scores.total, 2 * expected + 1)
    assert scores.failed == {"mine": sum(bad), "ones": 0}
    assert list(scores.faults["mine"]) == np.flatnonzero(bad).tolist()


def test_the_message_names_the_place_in_the_users_file():
    with pytest.raises(UserError, match=r"division by zero \(.*test_faults.py:\d+\)"):
        score([raises_on_one], COMPLETIONS)


def test_a_long_completion_is_shortened():
    long = Completion("p" * 1000, "c" * 1000)
    with pytest.raises(UserError) as caught:
        score([Reward("mine", returns([math.nan]))], [long])
    assert len(str(caught.value)) < 700


def test_what_a_hanging_function_does_later_changes_nothing():
    done = threading.Event()

    def late(completions):
        time.sleep(0.4)
        print("late")
        done.set()
        return ones(completions)

    scores = score([Reward("late", late, fallback=0.0, time_limit=0.1)], COMPLETIONS)
    assert done.wait(5)
    np.testing.assert_array_equal(scores.values["late"], np.zeros(4))
