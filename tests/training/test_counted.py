"""Work that is counted, as a terminal and a log show it."""

import itertools

import pytest

from jaxalign.training import Counted
from tests.training.terminal import Terminal


def seconds(step):
    """A clock that is read every so many seconds."""
    return map(float, itertools.count(0, step)).__next__


def shown(tty, title="rows", total=8, step=11):
    stream = Terminal(tty)
    with Counted(title, total, stream, seconds(step)) as seen:
        for done in range(1, total + 1):
            seen.update(done, 100 * done)
    return stream.text


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")


def test_a_log_has_a_line_every_half_a_minute():
    assert shown(False).splitlines() == [
        "rows: 3/8  9 tokens/s  55 s left",
        "rows: 6/8  9 tokens/s  22 s left",
    ]
    assert not shown(False, step=3)


def test_a_bar_moves_and_goes_away():
    text = shown(True)
    assert "rows: 8/8  9 tokens/s  0 s left" in text
    assert text.endswith("\x1b[2K")  # its line is erased


@pytest.mark.parametrize("nothing", [{"title": None}, {"total": 0}])
def test_nothing_is_shown_of_nothing(nothing):
    assert not shown(True, **nothing)


def test_items_are_counted_when_the_next_one_is_asked_for():
    stream = Terminal(False)
    with Counted("batches", 3, stream, seconds(31)) as seen:
        items = seen.over("abc")
        assert next(items) == "a"
        assert not stream.text
        assert list(items) == ["b", "c"]
    assert [x.split("  ")[0] for x in stream.text.splitlines()] == [
        f"batches: {n}/3" for n in (1, 2, 3)
    ]
