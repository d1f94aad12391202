"""A request to stop is heard in time, whatever the process is doing."""

import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from jaxalign.training import AskedToStop, StopRequest

ROOT = pathlib.Path(__file__).parents[2]
SOON = 20
"""Seconds, on a machine with much to do; what is not heard takes a minute or more."""
TERM, INT, HUP = signal.SIGTERM, signal.SIGINT, signal.SIGHUP


def asked(doing, *signals):
    """Code, seconds from the first signal to the end, and what was printed.

    Each signal is a number, or the seconds to wait before the next one.
    """
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.training.asked", doing],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        start = time.monotonic()
        for x in signals:
            time.sleep(x) if isinstance(x, float) else process.send_signal(x)
        out, error = process.communicate(timeout=120)
        return process.returncode, time.monotonic() - start, out.split("\n"), error


@pytest.mark.parametrize("number", [TERM, INT, HUP])
def test_a_wait_hears_it_where_it_is(number):
    code, seconds, out, error = asked("sleeping", number)
    assert (code, out) == (75, ["heard", ""])
    assert seconds < SOON
    assert error.startswith(f"{number.name}: stopping")


def test_a_library_that_hears_nothing_is_left():
    code, seconds, out, _ = asked("stuck", TERM)
    assert (code, out) == (75, [""])
    assert seconds < SOON


def test_what_there_is_is_saved_before_a_library_is_left():
    code, seconds, out, _ = asked("saving", TERM)
    assert (code, out) == (75, ["saved", "last word", ""])
    assert seconds < SOON


def test_what_cannot_be_saved_yet_is_waited_for():
    code, seconds, out, _ = asked("not_yet", TERM)
    assert (code, out) == (75, ["heard", ""])
    assert seconds > 1.5


def test_who_has_heard_has_time_to_leave():
    code, _, out, _ = asked("slow_way_out", TERM)
    assert (code, out) == (75, ["in order", "heard", ""])


def test_the_second_signal_leaves_at_once():
    assert asked("patient", INT, 0.2, INT)[0] == 130
    assert asked("stuck", TERM, 0.2, INT)[0] == 130
    assert asked("patient", TERM, 1.5, TERM)[0] == 143


def test_a_signal_to_the_group_too_is_one_request():
    """`timeout` and other supervisors send it to the process and to its group."""
    for _ in range(3):
        code, seconds, out, _ = asked("sleeping", TERM, TERM, HUP)
        assert (code, out) == (75, ["heard", ""])
        assert seconds < SOON


def test_it_is_heard_behind_a_callback_where_nothing_can_be_raised():
    code, seconds, out, error = asked("in_a_callback", TERM)
    assert (code, out) == (75, ["heard", ""])
    # The callback runs before and behind the collection.
    assert 1 < seconds < 3 + SOON
    assert "Exception ignored" not in error


def test_a_child_that_is_ended_asks_nobody_to_stop():
    code, _, out, _ = asked("forking")
    assert (code, out) == (0, ["-15 False", ""])


def test_what_is_ignored_stays_ignored():
    """As under nohup, or for Ctrl-C in the background of a script."""
    previous = signal.signal(HUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            assert signal.getsignal(HUP) is signal.SIG_IGN
            signal.raise_signal(HUP)
            assert not stop.requested
        assert signal.getsignal(HUP) is signal.SIG_IGN
    finally:
        signal.signal(HUP, previous)


def test_the_signals_are_given_back():
    before = [signal.getsignal(x) for x in (TERM, INT, HUP)]
    threads = threading.active_count()
    with StopRequest(), StopRequest():
        pass
    assert [signal.getsignal(x) for x in (TERM, INT, HUP)] == before
    assert threading.active_count() == threads


def test_a_request_is_raised_where_work_may_be_dropped_and_nowhere_else():
    stop = StopRequest()
    stop.check()
    with stop.at_once():
        pass
    stop.request()
    with pytest.raises(AskedToStop), stop.at_once():
        raise AssertionError("the work must not begin")
    with stop.rescued(lambda: True):
        pass
    with pytest.raises(AskedToStop):
        stop.check()


def test_it_is_no_failure_of_the_work():
    """What catches every `Exception`, as code around rewards does, lets it through."""
    assert not issubclass(AskedToStop, Exception)
    assert AskedToStop.exit_code == 75


@pytest.fixture
def signals():
    """Puts back what a process that is ending leaves ignored."""
    before = {x: signal.getsignal(x) for x in (TERM, HUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_signal_in_a_nested_block_is_heard_in_the_outer_one():
    """Also where the inner block has nothing that may be dropped."""
    with StopRequest() as stop:
        reached = []

        def work():
            with stop.at_once():
                with stop.rescued(lambda: True):
                    reached.append("inner")
                signal.raise_signal(TERM)
                reached.append("behind it")

        with pytest.raises(AskedToStop):
            work()
        assert reached == ["inner"]
        with stop.rescued(lambda: False):
            reached.append("goes on")
        assert reached[-1] == "goes on"
