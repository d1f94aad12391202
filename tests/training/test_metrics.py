"""`metrics.jsonl` is append-only, cut back on resume, and nobody can break it."""

import json
import logging

import jax.numpy as jnp
import pytest

from jaxalign.ops import Mean
from jaxalign.training import MetricsLog, draw_plots, make_mirrors, read_metrics
from jaxalign.training.log.metrics import Window
from jaxalign.training.log.progress import Progress
from tests.training.terminal import Terminal


def filled(tmp_path, steps=5):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in range(1, steps + 1):
        log.write(step, "train", {"loss": 1 / step})
        if step % 2 == 0:
            log.write(step, "eval", {"eval_loss": 2 / step})
    return log


def test_a_step_is_never_there_twice(tmp_path):
    log = filled(tmp_path)
    for again in (log, MetricsLog(log.path)):
        with pytest.raises(ValueError, match="step 5 would be there twice"):
            again.write(5, "train", {})
    log.write(5, "eval", {})


@pytest.mark.parametrize("step", [-1, 0, 2, 3, 5, 9])
def test_cutting_back_leaves_what_a_run_to_that_step_wrote(tmp_path, step):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    log = filled(tmp_path / "a")
    log.cut_back(step)
    shorter = filled(tmp_path / "b", steps=min(step, 5))
    there = shorter.path.read_bytes() if shorter.path.exists() else b""
    assert log.path.read_bytes() == there
    log.write(max(step, 5) + 1, "train", {"loss": 0.0})


def test_a_line_cut_short_by_a_kill_goes_too(tmp_path):
    log = filled(tmp_path)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"step": 5, "spl')
    assert len(read_metrics(log.path)) == 7
    log = MetricsLog(log.path)
    log.cut_back(9)
    assert log.path.read_bytes() == whole


def test_a_removed_folder_is_made_again(tmp_path):
    log = filled(tmp_path / "run")
    log.path.unlink()
    log.path.parent.rmdir()
    log.write(6, "train", {"loss": 0.5})
    assert read_metrics(log.path) == [{"step": 6, "split": "train", "loss": 0.5}]


def test_what_is_not_a_number_becomes_null(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write(1, "train", {"loss": float("nan"), "x": float("inf")})
    line = json.loads(log.path.read_text(), parse_constant=pytest.fail)
    assert line == {"step": 1, "split": "train", "loss": None, "x": None}


def test_a_window_weighs_by_counts():
    totals, weights = [3.0, 8.0, 0.0], [1.0, 9.0, 0.0]
    window = Window()
    for total, weight in zip(totals, weights, strict=True):
        mean = Mean(jnp.float32(total), jnp.float32(weight))
        window.add({"loss": mean, "grad_norm": jnp.float32(total)})
    # As it goes through a checkpoint.
    window = Window(json.loads(json.dumps(window.sums)))
    assert window.take() == {"loss": sum(totals) / sum(weights), "grad_norm": 11 / 3}
    assert window.take() == {}


class Broken:
    calls = 0

    def write(self, step, split, values):
        self.calls += 1
        raise ConnectionError("no route to host")

    def close(self):
        raise ConnectionError("no route to host")


def test_a_failing_mirror_warns_once_and_stops_nothing(tmp_path, caplog):
    mirror = Broken()
    log = MetricsLog(tmp_path / "metrics.jsonl", [mirror])
    for step in range(3):
        log.write(step, "train", {"loss": 1.0})
    log.close()
    assert mirror.calls == 1
    assert caplog.text.count("no route to host") == 1
    assert len(read_metrics(log.path)) == 3


def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip("tensorboardX")
    mirrors = make_mirrors(("tensorboard",), tmp_path, "run", {})
    log = MetricsLog(tmp_path / "metrics.jsonl", mirrors)
    log.write(3, "eval", {"eval_loss": 0.25})
    log.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"eval/loss" in events.read_bytes()


def test_unknown_or_missing_mirrors_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="got 'tensorbord'"):
        make_mirrors(("tensorbord",), tmp_path, "run", {})
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ValueError, match=r"install jaxalign\[wandb\]"):
        make_mirrors(("wandb",), tmp_path, "run", {})


def test_plots_come_from_the_file_alone(tmp_path):
    log = filled(tmp_path)
    log.write(6, "train", {"rewards/accuracies": 0.5, "rewards/margins": 0.1})
    drawn = draw_plots(log.path, tmp_path / "plots")
    assert drawn == ["loss.png", "reward.png", "accuracy.png"]
    for name in drawn:
        assert (tmp_path / "plots" / name).read_bytes()[:4] == b"\x89PNG"
    assert draw_plots(tmp_path / "none.jsonl", tmp_path / "plots") == []


VALUES = {
    "loss": 0.5,
    "rewards/accuracies": 0.75,
    "learning_rate": 1e-5,
    "step_time": 0.5,
    "perf/tokens_per_second": 12345.6,
}
LINE = (
    "step 40/100  loss 0.5000  rewards/accuracies 0.7500  lr 1.00e-05  "
    "12,346 tokens/s  30 s left"
)


@pytest.mark.parametrize(
    ("tty", "variable", "value"),
    [
        (False, "TERM", "xterm"),
        (True, "CI", "1"),
        (True, "NO_COLOR", "1"),
        (True, "TERM", "dumb"),
    ],
)
def test_progress_is_plain_where_no_bar_can_move(monkeypatch, tty, variable, value):
    """Rich shows nothing of a bar on a dumb terminal, such as Emacs's shell."""
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    stream = Terminal(tty)
    with Progress(100, main_metric="rewards/accuracies", stream=stream) as progress:
        progress.update(40, VALUES)
        progress.say("a [word]")
    assert stream.text == LINE + "\na [word]\n"


@pytest.fixture
def drawn(monkeypatch):
    """What a terminal of so many columns is given for step 40."""

    def draw(columns, *said):
        for name in ("CI", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm")
        stream = Terminal(True)
        with Progress(100, main_metric="rewards/accuracies", stream=stream) as progress:
            progress.update(40, VALUES)
            for text in said:
                progress.say(text)
        return stream.text

    return draw


def test_progress_moves_on_a_terminal(drawn):
    text = drawn(200, "a [word]")
    assert LINE in text
    assert "a [word]" in text
    logging.getLogger("jaxalign").handlers.clear()


def test_a_narrow_terminal_shows_speed_and_time_left_too(drawn):
    text = drawn(60)
    assert all(part in text for part in LINE.split("  "))
