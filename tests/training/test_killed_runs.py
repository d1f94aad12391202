"""Runs that are killed, stopped or cheated of their disk end as if left alone.

Each process is a whole run through the real loop (`driver.py`). Parameters, optimizer
state, key and `metrics.jsonl` are compared by sha256 with those of a straight run.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.training.driver", "--output-dir"]
KILLED = -signal.SIGKILL


CACHE = tempfile.TemporaryDirectory(prefix="compiled-")  # the same for all runs


def environment(chaos=""):
    kept = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    return kept | {
        "JAXALIGN_TEST_RUN": "1",
        "JAXALIGN_CHAOS": chaos,
        "JAX_COMPILATION_CACHE_DIR": CACHE.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def run(folder, chaos="", *options, expect: int | None = 0):
    """Starts the run, waits for its end, and returns what it printed."""
    done = subprocess.run(
        [*COMMAND, str(folder), *options],
        cwd=ROOT,
        env=environment(chaos),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if expect is not None:
        assert done.returncode == expect, done.stderr
    return done.stderr


def result(folder):
    return json.loads((folder / "result.json").read_text())


def assert_clean(folder):
    """No temporary folder is left, and no step was logged twice."""
    assert not list((folder / "checkpoints").glob("*tmp*"))
    lines = [json.loads(x) for x in (folder / "metrics.jsonl").read_text().splitlines()]
    logged = [(line["step"], line["split"]) for line in lines]
    assert len(set(logged)) == len(logged)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight") / "run"
    run(folder)
    return folder


@pytest.mark.slow
def test_killed_again_and_again(tmp_path, straight):
    """Before the first checkpoint, at a step between two lines of metrics, and inside
    a background save, between the arrays and the manifest."""
    folder = tmp_path / "run"
    for fault in ("kill@save:1", "kill@step:7", "kill@save:2"):
        run(folder, fault, expect=KILLED)
        assert not (folder / "result.json").exists()
    assert (folder / "checkpoints" / "9.tmp" / "arrays").is_dir()
    printed = run(folder)
    assert "is taken over" in printed
    assert result(folder) == result(straight)
    assert_clean(folder)
    # A save waits for the one before: at most one interval and a step are lost.
    starts = json.loads((folder / "run.json").read_text())["starts"]
    assert [start["start_step"] for start in starts] == [0, 0, 3, 6]


def test_asked_to_stop(tmp_path, straight):
    """Twice, the second time impatiently; then once; then left alone."""
    folder = tmp_path / "run"
    faults = "sigterm@step:5;delay@manifest:3*60"  # the save for the first signal
    with subprocess.Popen(
        [*COMMAND, str(folder)],
        cwd=ROOT,
        env=environment(faults),
        stderr=subprocess.PIPE,
    ) as process:
        wait_for(folder / "checkpoints" / "5.tmp" / "host.json")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"0", "3", "5.tmp"}

    run(folder, "sigterm@step:5", expect=75)
    last = json.loads((folder / "run.json").read_text())["starts"][-1]
    assert [last[k] for k in ("start_step", "stop_step", "exit_code")] == [3, 5, 75]
    assert (folder / "checkpoints" / "5").is_dir()
    run(folder)
    assert result(folder) == result(straight)
    assert_clean(folder)


def test_no_room_on_the_disk(tmp_path, straight):
    """It stops at once with the path, and goes on when there is room."""
    folder = tmp_path / "run"
    printed = run(folder, "enospc@save:3", expect=76)
    assert f"{folder}/checkpoints/6.tmp was not written" in printed
    assert "MB are free" in printed
    assert "Traceback" not in printed
    # With the newest one damaged too, the one before it is used, with a message.
    files = (p for p in (folder / "checkpoints" / "3").rglob("*") if p.is_file())
    data = max(files, key=lambda p: p.stat().st_size)
    raw = bytearray(data.read_bytes())
    raw[len(raw) // 2] ^= 1
    data.write_bytes(raw)
    printed = run(folder)
    assert "checkpoints/3 is passed over" in printed
    assert result(folder) == result(straight)
    assert (folder / "checkpoints" / "3.set-aside").is_dir()


def test_user_errors_are_one_paragraph(straight):
    printed = run(straight, "", "--learning-rate", "0.5", expect=2)
    assert printed.startswith("the run in")
    assert "learning_rate was 0.1, is 0.5" in printed
    assert len(printed.splitlines()) == 1


def wait_for(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_at_every_step_and_at_random_moments(tmp_path, straight):
    for step in range(1, 13):
        folder = tmp_path / str(step)
        run(folder, f"kill@step:{step}", expect=KILLED)
        run(folder)
        assert result(folder) == result(straight), step
        assert_clean(folder)
    seed = int.from_bytes(os.urandom(4))
    print("seed", seed)
    rng, folder = random.Random(seed), tmp_path / "random"
    for _ in range(20):
        with subprocess.Popen(
            [*COMMAND, str(folder)],
            cwd=ROOT,
            env=environment(),
            stderr=subprocess.DEVNULL,
        ) as process:
            time.sleep(rng.uniform(0.5, 4))
            process.kill()
        if (folder / "result.json").exists():
            break
    run(folder)
    assert result(folder) == result(straight)
    assert_clean(folder)
