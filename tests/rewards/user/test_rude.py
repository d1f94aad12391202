"""What a user's code does to its process is told in a sentence, and ends no run."""

import os
import signal
import subprocess
import sys
import time

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, parse_reward, score
from jaxalign.rewards.loading import Processes

RUDE = """
import asyncio, os, signal, subprocess, sys, time

def fine(completions):
    return [2.0] * len(completions)

def exits_on_b(completions):
    if "b" in [c.completion for c in completions]:
        os._exit(0)
    return [1.0] * len(completions)

def crashes(completions):
    os.kill(os.getpid(), signal.SIGSEGV)

def is_killed(completions):
    print("what a large table")
    os.kill(os.getpid(), signal.SIGKILL)

def hangs_on_b(completions):
    while "b" in [c.completion for c in completions]:
        time.sleep(1)
    return [1.0] * len(completions)

def talks_into_the_line(completions):
    for number in range(3, 1024):
        try:
            os.write(number, b"[1, 2]\\n")
        except OSError:
            pass
    return [1.0] * len(completions)

async def leaves_a_task(completions):
    sys.exit(4)

async def in_a_group(completions):
    async with asyncio.TaskGroup() as group:
        group.create_task(fails())

async def fails():
    raise LookupError("no such\\nserver")

def leaves_processes(completions):
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    if not os.fork():
        os.setsid()
        if not os.fork():
            time.sleep(600)
        os._exit(0)
    os.wait()
    return [1.0] * len(completions)

def is_slow(completions):
    time.sleep(600)

def reads(completions):
    return [float(input())] * len(completions)
"""
LINES = RUDE.splitlines()
ROWS = [Completion("?", text, index=i) for i, text in enumerate("abc")]


@pytest.fixture
def rude(tmp_path):
    file = tmp_path / "rude.py"
    file.write_text(RUDE)
    processes = Processes()
    yield lambda text: parse_reward(f"{file}:{text}", processes=processes)
    processes.of(str(file)).close()


def error_of(*rewards):
    with pytest.raises(UserError) as caught:
        score(rewards, ROWS)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_whoever_ends_the_process_is_named_with_the_completion(rude):
    text = error_of(rude("fine"), rude("exits_on_b"))
    assert "The reward `exits_on_b` ended its own process (exit code 0)" in text
    assert "on completion 1 of 3: row 1, prompt '?', completion 'b'" in text
    assert score([rude("fine")], ROWS).total.tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("crashes", r"lost its process to SIGSEGV: .* at .*rude.py:\d+, in crashes"),
        ("is_killed", 'to SIGKILL: .* that it printed is "what a large table"'),
        ("talks_into_the_line", "has written into the line of its process"),
        ("reads", r"raised EOFError: .*rude.py:\d+\)"),
        ("leaves_a_task", r"raised SystemExit: 4 \(.*rude.py:\d+\)"),
        ("in_a_group", r"raised LookupError: no such server \(.*rude.py:\d+\)"),
    ],
)
def test_what_happened_is_told(name, what, rude):
    reward = rude(name)
    with pytest.raises(UserError, match=f"The reward `{name}` .*{what}") as caught:
        score([reward], ROWS)
    assert "on completion 0 of 3: row 0" in str(caught.value)


def test_who_hangs_is_named_with_the_line_that_it_is_at(rude):
    text = error_of(rude("fine"), rude("hangs_on_b(time_limit=0.5)"))
    assert "`hangs_on_b` did not end within 0.5 seconds; it was at " in text
    line = LINES.index("        time.sleep(1)") + 1
    assert f"rude.py:{line}, in hangs_on_b, on a call with 3 completions" in text


@pytest.mark.parametrize("name", ["exits_on_b", "hangs_on_b"])
def test_with_a_fallback_only_the_completion_is_lost(name, rude):
    """Also in the next call, in which nobody asks about all of them at once."""
    reward, fine = rude(f"{name}(fallback=-1, time_limit=1)"), rude("fine")
    for _ in range(2):
        scores = score([reward, fine], ROWS)
        assert scores.values[name].tolist() == [1.0, -1.0, 1.0]
        assert scores.values["fine"].tolist() == [2.0] * 3
        assert scores.failed == {name: 1, "fine": 0}
        assert list(scores.faults[name]) == [1]


def test_a_process_that_ends_on_every_completion_is_an_error_in_any_case(rude):
    text = error_of(rude("crashes(fallback=0)"))
    assert "No completion was left that it did not fail on" in text


def test_a_process_that_is_lost_between_two_calls_is_noticed(rude):
    reward = rude("fine")
    assert score([reward], ROWS).total.tolist() == [2.0] * 3
    # The guard is our child; its child is the process of the rewards.
    guard = reward.function.process._connection._process.pid
    with open(f"/proc/{guard}/task/{guard}/children") as file:
        os.kill(int(file.read()), signal.SIGKILL)
    text = error_of(reward)
    assert "The reward `fine` lost its process to SIGKILL" in text
    assert score([reward], ROWS).total.tolist() == [2.0] * 3


def test_code_that_has_changed_is_not_loaded_again(rude, tmp_path):
    reward = rude("exits_on_b(fallback=0)")
    with (tmp_path / "rude.py").open("a") as file:
        file.write("# another one\n")
    with pytest.raises(UserError, match="rude.py has changed since the run began"):
        score([reward], ROWS)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import os\nos._exit(0)", r"ended its own process \(exit code 0\)"),
        ("def f(:", r"raised SyntaxError: .*bad.py:1\)"),
        ("import no_such_thing", r"ModuleNotFoundError: .*bad.py:1\)"),
        ("from .no_such import x", r"ModuleNotFoundError: .*no_such.*bad.py:1\)"),
        ("class f: pass", "has a class `f`, and a reward is a function"),
        ("def f(a, b): pass", "bad.py:f takes a, b. A reward is f.completions. or"),
        ("def f(): pass", "bad.py:f takes nothing"),
    ],
)
def test_code_that_cannot_be_loaded(code, what, tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(code)
    with pytest.raises(UserError, match=what) as caught:
        parse_reward(f"{file}:f")
    assert "\n" not in str(caught.value)


class Asked(BaseException):
    """Of a signal's handler."""


def test_a_wait_is_ended_by_a_signal(rude):
    def handle(*_):
        raise Asked

    reward = rude("is_slow")
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    start = time.monotonic()
    try:
        with pytest.raises(Asked):
            score([reward], ROWS)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - start < 5
    assert score([rude("fine")], ROWS).total.tolist() == [2.0] * 3


RUN = """
import sys
from jaxalign.rewards import Completion, load_rewards, score
rewards = load_rewards([f"{sys.argv[1]}:leaves_processes", f"{sys.argv[1]}:is_slow"])
row = Completion("?", "a")
score(rewards[:1], [row])
print(rewards[0].function.process._connection._process.pid, flush=True)
score(rewards[1:], [row])
"""


def test_nothing_outlives_a_run_that_is_killed(tmp_path):
    file = tmp_path / "rude.py"
    file.write_text(RUDE)
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    with run.stdout:
        guard = int(run.stdout.readline())
        ours = [guard, *descendants(guard)]
        run.kill()
        run.wait()
    assert len(ours) >= 4  # the guard, the process, what sleeps, and who daemonized
    end = time.monotonic() + 10
    while any(map(is_alive, ours)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [x for x in ours if is_alive(x)]


def test_nothing_outlives_the_rewards(tmp_path):
    file = tmp_path / "rude.py"
    file.write_text(RUDE)
    reward = parse_reward(f"{file}:leaves_processes")
    score([reward], ROWS)
    guard = reward.function.process._connection._process.pid  # pyright: ignore
    ours = [guard, *descendants(guard)]
    assert len(ours) >= 4
    del reward
    assert not [x for x in ours if is_alive(x)]


def descendants(pid):
    """Processes below one, and below those, by what the system says of parents."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [x for x, parent in parents.items() if parent == pid]
    return found + [y for x in found for y in descendants(x)]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
