"""A user's regular expression that explodes costs its time, and not the run's life."""

import re
import signal
import time

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import (
    Completion,
    matches_pattern,
    parse_reward,
    rating_judge,
    score,
)
from jaxalign.rewards.reading import pattern_process
from jaxalign.rewards.reading.bounded_process import BoundedProcess

EXPLODES, LONG = r"(\w+\s*)+$", "word " * 12 + "word!"
ROWS = [Completion("?", x) for x in ("two words", LONG, "three short words")]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    process = BoundedProcess("pattern_worker.py", 1.0, fails="no process")
    monkeypatch.setattr(pattern_process, "_process", lambda: process)
    yield
    process.close()


@pytest.mark.slow
def test_the_pattern_does_explode():
    """What the tests below hang on, if it were looked for in this process."""
    times = []
    for n in (6, 7):
        start = time.perf_counter()
        re.search(EXPLODES, "word " * n + "word!")
        times.append(time.perf_counter() - start)
    assert times[1] > 4 * times[0]


def test_it_is_an_error_that_names_the_pattern():
    start = time.monotonic()
    with pytest.raises(UserError, match="too many ways"):
        matches_pattern(ROWS, pattern=EXPLODES, where="search")
    assert time.monotonic() - start < 10
    # The next one has a new process.
    assert matches_pattern(ROWS[:1], pattern="two.*") == [1.0]


def test_it_costs_the_completion_alone_where_there_is_a_fallback():
    reward = parse_reward(
        rf"matches_pattern(pattern='{EXPLODES}', where=search, fallback=-1)"
    )
    scores = score([reward], ROWS)
    assert scores.total.tolist() == [1.0, -1.0, 1.0]
    assert scores.failed == {"matches_pattern": 1}


def test_a_judges_pattern_too():
    judge = rating_judge(lambda requests: [LONG] * len(requests), pattern=EXPLODES)
    with pytest.raises(UserError, match="too many ways"):
        judge(ROWS[:1])


def test_signals_are_heard_while_it_is_looked_for():
    """In this process nothing is heard before the search is over."""

    class Heard(Exception):
        pass

    def hear(number, frame):
        raise Heard

    before = signal.signal(signal.SIGALRM, hear)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        start = time.monotonic()
        with pytest.raises(Heard):
            matches_pattern(ROWS, pattern=EXPLODES, where="search")
        assert time.monotonic() - start < 0.9
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert matches_pattern(ROWS[:1], pattern="two.*") == [1.0]


def test_groups_and_places_are_those_of_python():
    pattern, text = re.compile(r"(a)|(b)(?=c)", re.IGNORECASE), "xA bc é a"
    for where in ("search", "match", "fullmatch"):
        m = getattr(pattern, where)(text)
        expected = [] if m is None else [(m.start(), (m[0], *m.groups()))]
        assert pattern_process.marks_of(pattern, text, where) == expected
    expected = [(m.start(), (m[0], *m.groups())) for m in pattern.finditer(text)]
    assert pattern_process.marks_of(pattern, text, "finditer") == expected
    assert len(expected) == 3
