"""What `score` makes of rewards that work."""

import asyncio
import functools
import signal
import sqlite3
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, Reward, score

COMPLETIONS = [Completion("?", text, index=i) for i, text in enumerate("abcd")]


def numbers(*values):
    return lambda completions: list(values)


def test_total_is_the_weighted_sum_of_what_applies():
    rewards = [
        Reward("x", numbers(1.0, None, 3.0, None), weight=0.5),
        Reward("y", numbers(10.0, 20.0, None, None), weight=-1.0),
    ]
    scores = score(rewards, COMPLETIONS)
    expected = [0.5 * 1 - 10, -20.0, 0.5 * 3, np.nan]
    np.testing.assert_array_equal(scores.total, expected)
    assert scores.applies.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(scores.values["x"], [1, np.nan, 3, np.nan])
    assert list(scores.values) == ["x", "y"]
    assert scores.total.dtype == np.float64


@pytest.mark.parametrize(
    "values",
    [
        (0.4, 0.9, -1.5, 0.0),
        np.array([0.4, 0.9, -1.5, 0.0]),
        jnp.array([0.4, 0.9, -1.5, 0.0]),
        [np.float64(0.4), jnp.float32(0.9), -1.5, False],
    ],
)
def test_numbers_of_any_kind_come_back_as_they_are(values):
    """No integer truncation: 0.4 stays 0.4."""
    got = score([lambda completions: values], COMPLETIONS).total
    np.testing.assert_allclose(got, [0.4, 0.9, -1.5, 0.0], rtol=1e-7)


def test_async_rewards_run_at_the_same_time():
    events = []

    async def wait(completions, name):
        events.append(("start", name))
        await asyncio.sleep(0.3)
        events.append(("end", name))
        return [1.0] * len(completions)

    rewards = [Reward(n, functools.partial(wait, name=n)) for n in "abc"]
    score(rewards, COMPLETIONS)
    assert [what for what, _ in events] == ["start"] * 3 + ["end"] * 3


def test_sync_rewards_run_one_after_another():
    active, most = [], []

    def wait(completions, name):
        active.append(name)
        time.sleep(0.02)
        most.append(len(active))
        active.pop()
        return [1.0] * len(completions)

    score([Reward(n, functools.partial(wait, name=n)) for n in "abc"], COMPLETIONS)
    assert most == [1, 1, 1]


def test_a_callable_object_with_an_async_call():
    class Judge:
        async def __call__(self, completions):
            await asyncio.sleep(0)
            return [0.25] * len(completions)

    assert score([Reward("judge", Judge())], COMPLETIONS).total.tolist() == [0.25] * 4


def test_prints_are_kept_apart(capsys):
    def loud(completions, word):
        print("I am", word)
        return [0.0] * len(completions)

    async def loud_later(completions):
        await asyncio.sleep(0.01)
        print("later")
        return [0.0] * len(completions)

    started, go_on = threading.Event(), threading.Event()

    def waits(completions):
        started.set()
        assert go_on.wait(5)
        return [0.0] * len(completions)

    def outsider():
        assert started.wait(5)
        print("progress")
        go_on.set()

    thread = threading.Thread(target=outsider)
    thread.start()
    scores = score(
        [
            Reward("a", functools.partial(loud, word="a")),
            Reward("b", functools.partial(loud, word="b")),
            Reward("later", loud_later),
            Reward("waits", waits),
        ],
        COMPLETIONS,
    )
    thread.join()
    expected = {"a": "I am a\n", "b": "I am b\n", "later": "later\n", "waits": ""}
    assert scores.printed == expected
    assert capsys.readouterr().out == "progress\n"
    print("after")
    assert capsys.readouterr().out == "after\n"


def test_a_reward_cannot_change_the_list_of_others():
    def empties(completions):
        n = len(completions)
        completions.clear()
        return [1.0] * n

    both = [Reward("empties", empties), Reward("n", lambda c: [len(c)] * 4)]
    assert score(both, COMPLETIONS).total.tolist() == [5.0] * 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: score([], COMPLETIONS), "no reward to score with"),
        (lambda: score([numbers(1.0)], []), "no completion to score"),
        (lambda: score([len, len], COMPLETIONS), "Two rewards are called `len`"),
        (lambda: Reward("x", len, weight=float("nan")), "weight is nan, not a finite"),
        (lambda: Reward("x", len, fallback=float("inf")), "fallback is inf"),
        (lambda: Reward("x", len, time_limit=0), "time_limit is 0 seconds; it must be"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_what_belongs_to_a_thread_or_a_loop_goes_on_working():
    """A connection of sqlite is its thread's, a semaphore its loop's."""
    limit, connections = asyncio.Semaphore(1), []

    def stores(completions):
        if not connections:
            connections.append(sqlite3.connect(":memory:"))
        (one,) = connections[0].execute("select 1").fetchone()
        return [float(one)] * len(completions)

    async def asks(completions):
        async def ask():
            async with limit:
                await asyncio.sleep(0.001)
                return 1.0

        return await asyncio.gather(*(ask() for _ in completions))

    def closes(completions):
        connections[0].close()
        return [1.0] * len(completions)

    for _ in range(3):
        assert score([stores, asks], COMPLETIONS).total.tolist() == [2.0] * 4
    score([closes], COMPLETIONS)


def test_without_a_time_limit_a_function_has_the_callers_thread():
    def checks(completions):
        before = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.signal(signal.SIGALRM, before)
        return [1.0] * len(completions)

    plain = Reward("checks", checks, time_limit=None)
    assert score([plain], COMPLETIONS).total.tolist() == [1.0] * 4
    with pytest.raises(UserError, match="signal only works in main thread"):
        score([checks], COMPLETIONS)


class Asked(BaseException):
    """To stop, by a signal."""


def test_a_wait_is_ended_by_a_signal():
    def handle(*_):
        raise Asked

    def sleeps(completions):
        done.wait(60)
        return [1.0] * len(completions)

    done = threading.Event()
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(Asked):
            score([sleeps], COMPLETIONS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    # Whoever goes on does not wait behind the one that was left.
    assert score([numbers(*[1.0] * 4)], COMPLETIONS).total.tolist() == [1.0] * 4
    done.set()


def test_a_reward_cannot_change_the_rows_of_others():
    def adds(completions):
        for c in completions:
            c.columns["seen"].append(1)
            c.messages[0]["content"] = "?"
        return [float(len(c.columns["seen"])) for c in completions]

    shared = {"seen": [0]}, [{"role": "user", "content": "Why?"}]
    rows = [Completion("?", "a", columns=shared[0], messages=shared[1])] * 2
    both = [Reward("a", adds), Reward("b", adds)]
    assert score(both, rows).total.tolist() == [4.0, 4.0]
    assert shared == ({"seen": [0]}, [{"role": "user", "content": "Why?"}])
