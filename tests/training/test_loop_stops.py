"""The loop: what it skips, what stops it, and in which state it then is."""

import contextlib
import os
import signal
import threading
import time

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.training import Checkpoints, StopRequest, chaos
from jaxalign.training.stopping import exits
from jaxalign.training.stopping.exits import (
    CheckpointSaveError,
    DataTimeoutError,
    NonFiniteError,
)
from tests.training import driver
from tests.training.short_run import (
    STEP,
    by_hand,
    go,
    lines,
    same_bits,
    state,
)


def test_a_step_that_is_not_finite_is_left_out_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse_faults("nan@batch:5"))
    finished = go(tmp_path)
    monkeypatch.undo()
    expected, history = by_hand(10, skip={5})
    assert same_bits(finished.state, expected)
    skipped = [line["skipped_steps"] for line in lines(tmp_path)]
    assert skipped == [0] * 4 + [1] * 6
    assert "loss" not in lines(tmp_path)[4]
    assert lines(tmp_path)[5]["loss"] == pytest.approx(history[5]["loss"].value)
    # The rate is that of the update that was made, not of the step's number.
    rates = [line["learning_rate"] for line in lines(tmp_path)]
    np.testing.assert_allclose(rates[4:7], [0.06, 0.06, 0.05])


def test_five_in_a_row_stop_the_run_and_name_the_examples(tmp_path, monkeypatch):
    faults = ";".join(f"nan@batch:{n}" for n in (2, 4, 5, 6, 7, 8, 9))
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse_faults(faults))
    with pytest.raises(NonFiniteError, match="in 5 steps in a row, the last.* step 8"):
        go(tmp_path)
    assert issubclass(NonFiniteError, UserError)
    with np.load(tmp_path / "bad_batch.npz", allow_pickle=False) as bad:
        np.testing.assert_array_equal(bad["steps"], [4, 5, 6, 7, 8])
        for step in (4, 8):
            ids = bad[f"example_ids/{step}"]
            np.testing.assert_array_equal(ids, driver.batch(step - 1)["example_ids"])
        np.testing.assert_array_equal(bad["batch/inputs"], driver.batch(7)["inputs"])


def test_a_row_of_bad_steps_is_counted_across_a_resume(tmp_path, monkeypatch):
    faults = ";".join(f"nan@batch:{n}" for n in (4, 5, 6, 7, 8))
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse_faults(faults))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    options = {"checkpoints": checkpoints, "learning_rate": None}
    go(tmp_path, num_steps=6, **options)
    found = checkpoints.restore(state())
    assert found is not None
    with pytest.raises(NonFiniteError, match="in 5 steps in a row, the last.* step 8"):
        go(tmp_path, start=found.state, host=found.host, **options)


def test_a_request_to_stop_is_seen_while_waiting_for_data(tmp_path):
    stop, never = StopRequest(), threading.Event()

    def slow(start):
        yield driver.batch(start)
        never.wait(20)

    def step_fn(state, batch):
        threading.Timer(0.3, stop.request).start()
        return STEP(state, batch)

    begin = time.monotonic()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    options = {"stop": stop, "checkpoints": checkpoints, "step_fn": step_fn}
    finished = go(tmp_path, batches=slow, **options)
    assert time.monotonic() - begin < 10
    never.set()
    assert (finished.step, finished.exit_code) == (1, exits.STOPPED)
    assert checkpoints.latest() == 1


def test_a_request_to_stop_does_not_wait_for_pictures(tmp_path):
    """The evaluation before them is kept, and the step is saved."""
    drawn = []

    def draw(step):
        drawn.append(step)
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)

    begin = time.monotonic()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with StopRequest() as stop:
        finished = go(
            tmp_path,
            stop=stop,
            checkpoints=checkpoints,
            evaluate=lambda state: {"loss": 1.0},
            after_evaluation=draw,
            eval_steps=2,
        )
    assert time.monotonic() - begin < 20
    assert drawn == [0, 2, 4]
    assert (finished.step, finished.exit_code) == (4, exits.STOPPED)
    assert [line["step"] for line in lines(tmp_path, "eval")] == [0, 2, 4]
    assert checkpoints.latest() == 4


def test_a_save_that_does_not_fit_the_grace_period_is_not_begun(tmp_path, caplog):
    stop = StopRequest(grace_seconds=5)
    checkpoints = Checkpoints(tmp_path / "checkpoints")

    def batches(start):
        for n in range(start, 3):
            yield driver.batch(n)
        checkpoints.save_seconds = 60.0
        stop.request()
        yield driver.batch(3)

    finished = go(tmp_path, batches=batches, stop=stop, checkpoints=checkpoints)
    assert finished.exit_code == exits.STOPPED
    assert checkpoints.latest() == 0
    assert "of the grace period" in caplog.text


def test_data_that_ends_hangs_or_fails_is_an_error_here(tmp_path):
    with pytest.raises(UserError, match="ended after 2 batches"):
        go(tmp_path / "a", batches=lambda start: iter([driver.batch(0)] * 2))

    def failing(start):
        yield driver.batch(0)
        raise ZeroDivisionError("row 7")

    with pytest.raises(ZeroDivisionError, match="row 7"):
        go(tmp_path / "b", batches=failing)

    never = threading.Event()

    def hanging(start):
        yield driver.batch(0)
        never.wait(20)

    with pytest.raises(DataTimeoutError, match="batch 1 did not come within 0.3 sec"):
        go(tmp_path / "c", batches=hanging, data_timeout=0.3)
    never.set()


def test_a_failing_save_stops_within_one_step(tmp_path, monkeypatch):
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse_faults("enospc@save:3"))
    monkeypatch.setattr(chaos, "_visits", chaos.collections.Counter())
    checkpoints = Checkpoints(tmp_path / "checkpoints")

    def patient(state, batch):
        if checkpoints._pending is not None:  # as slow as the disk
            with contextlib.suppress(CheckpointSaveError):
                checkpoints._pending.result()
        return STEP(state, batch)

    with pytest.raises(CheckpointSaveError, match=r"6\.tmp.*No space left"):
        go(tmp_path, step_fn=patient, checkpoints=checkpoints, save_steps=3)
    assert checkpoints.latest() == 3
    # Of step 7 there is a line if it was done when the save was looked at.
    assert lines(tmp_path)[-1]["step"] in (6, 7)
