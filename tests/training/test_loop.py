"""The loop: what it logs, when it evaluates, where its time goes."""

import time
import types

import jax
import numpy as np
import pytest

from jaxalign.ops import Mean
from jaxalign.training import (
    Checkpoints,
    Clock,
    StopRequest,
    make_train_step,
    prefetch,
    read_metrics,
)
from jaxalign.training.log import clock
from jaxalign.training.stopping import exits
from tests.training import driver
from tests.training.short_run import OPTIMIZER, by_hand, go, lines, same_bits, state


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
            means = [history[n][name] for n in range(*window)]
            mean = sum(m.total for m in means) / sum(m.weight for m in means)
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

        def is_ready(self):
            return False

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


def test_evaluation_comes_first_regularly_and_last(tmp_path):
    seen = []

    def evaluate(state):
        return {"loss": float(state.params["table"].sum()), "rewards/accuracies": 0.5}

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

        def evaluate(state):
            if step() in stops:
                stop.request()
                return None
            return {"loss": float(state.params["table"].sum())}

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


def test_the_times_add_up(tmp_path):
    begin, own = time.monotonic(), Clock()
    time.sleep(0.1)

    def evaluate(state):
        time.sleep(0.1)
        return {}

    checkpoints = Checkpoints(tmp_path / "checkpoints")
    step = jax.jit(make_train_step(driver.bigram_loss, OPTIMIZER))
    options = {"evaluate": evaluate, "checkpoints": checkpoints, "step_fn": step}
    go(tmp_path, clock=own, **options)
    wall = time.monotonic() - begin
    last = read_metrics(tmp_path / "timing.jsonl")[-1]
    times = {k: v for k, v in last.items() if k.startswith("time/")}
    assert sum(times.values()) == pytest.approx(wall, rel=0.02)
    assert times["time/init"] == pytest.approx(0.1, abs=0.05)
    assert times["time/eval"] == pytest.approx(0.2, abs=0.1)
    assert times["time/compile"] > 3 * times["time/step"]
    assert last["perf/compilations"] == 1


@pytest.mark.parametrize("in_background", [True, False])
def test_speed_is_that_of_the_steps_that_compile_nothing(
    tmp_path, monkeypatch, in_background
):
    """A device of 2 s a step behind a clock of its own; a compilation takes 50 s.

    On CPUs a step is over when the call of it is.
    """
    now = done = 0.0
    widths = [6, 5, 6, 6, 4, 6, 6]
    seen = set()

    class Late:
        def __init__(self, ready):
            self.ready = ready

        def is_ready(self):
            return self.ready <= now

        def __array__(self, dtype=None, copy=None):
            nonlocal now
            now = max(now, self.ready)
            return np.zeros((), dtype)

    def step_fn(state, batch):
        nonlocal now, done
        width = batch["mask"].shape[1]
        if width not in seen:
            seen.add(width)
            now += 50
        done = max(now, done) + 2
        now = now if in_background else done
        return state, {"loss": Mean(Late(done), np.float32(1))}  # pyright: ignore[reportArgumentType]

    def batches(start):
        for width in widths[start:]:
            yield {"mask": np.ones((4, width), bool)}

    monkeypatch.setattr(clock, "time", types.SimpleNamespace(monotonic=lambda: now))
    options = {"place": lambda batch: batch, "num_steps": len(widths)}
    go(tmp_path, step_fn=step_fn, batches=batches, **options)
    *steps, last = read_metrics(tmp_path / "timing.jsonl")
    for line, width, first in zip(steps, widths, [1, 1, 0, 0, 1, 0, 0], strict=True):
        speed = {} if first else {"step_time": 2, "perf/tokens_per_second": 2 * width}
        names = ("step_time", "perf/tokens_per_second")
        assert {k: line[k] for k in names if k in line} == speed
    # In one call with its compilation, the first step of a width counts as that.
    compiled = 0 if in_background else 3
    assert last["time/compile"] == 150 + 2 * compiled
    assert last["time/step"] == 2 * (len(widths) - compiled)


def test_prefetch_begins_where_it_is_told(tmp_path):
    stream = prefetch.Prefetch(lambda start: iter(range(start, 100)), 7)
    assert [stream.get(StopRequest()) for _ in range(3)] == [7, 8, 9]
    assert stream.position == 10
    stream.close()
