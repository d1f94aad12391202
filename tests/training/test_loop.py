"""The loop in this process: what it counts, skips, stops for and accounts for."""

import contextlib
import threading
import time

import jax
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.ops import Mean
from jaxalign.training import (
    Checkpoints,
    Clock,
    MetricsLog,
    OptimizerConfig,
    StopRequest,
    chaos,
    exits,
    make_optimizer,
    make_train_step,
    prefetch,
    read_metrics,
    train,
)
from jaxalign.training.exits import (
    CheckpointSaveError,
    DataTimeoutError,
    NonFiniteError,
)
from tests.training import driver

OPTIMIZER, SCHEDULE = make_optimizer(
    OptimizerConfig(learning_rate=0.1, schedule="linear"), num_steps=10
)
STEP = jax.jit(make_train_step(driver.bigram_loss, OPTIMIZER))


def state():
    return driver.initial_state(OPTIMIZER)


def go(folder, *, step_fn=STEP, start=None, batches=driver.batches, **options):
    arguments = {
        "num_steps": 10,
        "place": driver.place,
        "metrics": MetricsLog(folder / "metrics.jsonl"),
        "stop": StopRequest(),
        "num_tokens": lambda batch: int(batch["mask"].sum()),
        "learning_rate": SCHEDULE,
    }
    start = start or state()
    return train(step_fn, start, batches, **(arguments | options))


def lines(folder, split="train"):
    all_lines = read_metrics(folder / "metrics.jsonl")
    return [line for line in all_lines if line["split"] == split]


def by_hand(num_steps, skip=()):
    """The same updates without a loop: the states and the metrics of each step."""
    current, history = state(), []
    for n in range(num_steps):
        new, metrics = STEP(current, driver.place(driver.batch(n)))
        if n + 1 in skip:
            current = current.__class__(
                new.step, current.params, current.opt_state, current.key
            )
        else:
            current = new
        history.append({k: float(v) for k, v in metrics.items()})
    return current, history


def same_bits(a, b):
    return driver.digests(a) == driver.digests(b)


def test_each_line_is_the_mean_of_its_window(tmp_path):
    finished = go(tmp_path, logging_steps=3, steps_per_epoch=4)
    expected, history = by_hand(10)
    assert same_bits(finished.state, expected)
    assert (finished.step, finished.exit_code) == (10, exits.FINISHED)
    assert [line["step"] for line in lines(tmp_path)] == [3, 6, 9, 10]
    tokens = np.cumsum([int(driver.batch(n)["mask"].sum()) for n in range(10)])
    for line, window in zip(
        lines(tmp_path), [(0, 3), (3, 6), (6, 9), (9, 10)], strict=True
    ):
        for name in ("loss", "grad_norm"):
            mean = np.mean([history[n][name] for n in range(*window)])
            np.testing.assert_allclose(line[name], mean, rtol=1e-12)
        last = window[1]
        assert line["num_tokens"] == tokens[last - 1]
        assert line["epoch"] == last / 4
        assert line["learning_rate"] == pytest.approx(0.1 * (1 - (last - 1) / 10))
        assert not {"step_time", "time/step"} & line.keys()


def test_metrics_are_read_one_step_late(tmp_path):
    """When step n + 1 is dispatched, only steps before n may have been waited for."""
    log = []

    class Watched:
        def __init__(self, step):
            self.step = step

        def __array__(self, dtype=None, copy=None):
            log.append(f"read {self.step}")
            return np.zeros((), dtype)

    count = 0

    def step_fn(state, batch):
        nonlocal count
        count += 1
        log.append(f"run {count}")
        return state, {"loss": Mean(Watched(count), np.float32(1))}  # pyright: ignore[reportArgumentType]

    go(tmp_path, step_fn=step_fn, num_steps=4, logging_steps=4)
    assert log == [
        *("run 1", "run 2", "read 1", "run 3", "read 2", "run 4", "read 3", "read 4")
    ]


def test_a_step_that_is_not_finite_is_left_out_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse("nan@batch:5"))
    finished = go(tmp_path)
    monkeypatch.undo()
    expected, history = by_hand(10, skip={5})
    assert same_bits(finished.state, expected)
    skipped = [line["skipped_steps"] for line in lines(tmp_path)]
    assert skipped == [0] * 4 + [1] * 6
    assert "loss" not in lines(tmp_path)[4]
    assert lines(tmp_path)[5]["loss"] == pytest.approx(history[5]["loss"])
    # The rate is that of the update that was made, not of the step's number.
    rates = [line["learning_rate"] for line in lines(tmp_path)]
    np.testing.assert_allclose(rates[4:7], [0.06, 0.06, 0.05])


def test_five_in_a_row_stop_the_run_and_name_the_examples(tmp_path, monkeypatch):
    faults = ";".join(f"nan@batch:{n}" for n in (2, 4, 5, 6, 7, 8, 9))
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse(faults))
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
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse(faults))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    options = {"checkpoints": checkpoints, "learning_rate": None}
    go(tmp_path, num_steps=6, **options)
    found = checkpoints.restore(state())
    assert found is not None
    with pytest.raises(NonFiniteError, match="in 5 steps in a row, the last.* step 8"):
        go(tmp_path, start=found.state, host=found.host, **options)


def test_evaluation_comes_first_regularly_and_last(tmp_path):
    seen = []

    def evaluate(params):
        return {"loss": float(params["table"].sum()), "rewards/accuracies": 0.5}

    go(tmp_path, evaluate=evaluate, eval_steps=4, after_evaluation=seen.append)
    found = lines(tmp_path, "eval")
    assert [line["step"] for line in found] == seen == [0, 4, 8, 10]
    assert set(found[0]) == {"step", "split", "eval_loss", "eval_rewards/accuracies"}
    expected, _ = by_hand(4)
    assert found[1]["eval_loss"] == float(expected.params["table"].sum())


def test_an_interrupted_evaluation_is_made_up_for(tmp_path):
    """The lines are those of the run that was left alone, also after two stops."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"

    def run(folder, stops=(), start=None, host=None):
        stop, checkpoints = StopRequest(), Checkpoints(folder / "checkpoints")

        def evaluate(params):
            if step() in stops:
                stop.request()
                return None
            return {"loss": float(params["table"].sum())}

        def step():
            done = lines(folder)
            return done[-1]["step"] if done else 0

        common = {"checkpoints": checkpoints, "evaluate": evaluate, "eval_steps": 4}
        options = {"stop": stop, "host": host, "start": start, "num_steps": 10}
        return checkpoints, go(folder, **common, **options)

    run(straight)
    checkpoints, finished = run(broken, stops={4})
    assert (finished.step, finished.exit_code) == (4, exits.STOPPED)
    found = checkpoints.restore(state())
    assert found is not None
    run(broken, start=found.state, host=found.host)
    lined = [(folder / "metrics.jsonl").read_bytes() for folder in (straight, broken)]
    assert lined[0] == lined[1]


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
    monkeypatch.setattr(chaos, "faults", lambda: chaos.parse("enospc@save:3"))
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
    assert lines(tmp_path)[-1]["step"] == 6


def test_the_times_add_up(tmp_path):
    begin, clock = time.monotonic(), Clock()
    time.sleep(0.1)

    def evaluate(params):
        time.sleep(0.1)
        return {}

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    step = jax.jit(make_train_step(driver.bigram_loss, OPTIMIZER))
    options = {"evaluate": evaluate, "checkpoints": checkpoints, "step_fn": step}
    go(tmp_path, clock=clock, **options)
    wall = time.monotonic() - begin
    last = read_metrics(tmp_path / "timing.jsonl")[-1]
    times = {k: v for k, v in last.items() if k.startswith("time/")}
    assert sum(times.values()) == pytest.approx(wall, rel=0.02)
    assert times["time/init"] == pytest.approx(0.1, abs=0.05)
    assert times["time/eval"] == pytest.approx(0.2, abs=0.1)
    assert times["time/compile"] > 10 * times["time/step"]
    assert last["perf/compilations"] == 1


def test_prefetch_begins_where_it_is_told(tmp_path):
    stream = prefetch.Prefetch(lambda start: iter(range(start, 100)), 7)
    assert [stream.get(StopRequest()) for _ in range(3)] == [7, 8, 9]
    assert stream.position == 10
    stream.close()
