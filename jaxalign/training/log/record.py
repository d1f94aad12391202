"""The record of a run: metrics read without a wait, averaged, logged, and timed."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxalign.training.folder.own_files import append_line
from jaxalign.training.log.bad_batches import write_bad_batches
from jaxalign.training.log.clock import Clock
from jaxalign.training.log.metrics import MetricsLog, Window
from jaxalign.training.log.progress import Progress
from jaxalign.training.optimizer import Schedule
from jaxalign.training.stopping.exits import NonFiniteError


class _Timed(NamedTuple):
    """The steps of a window whose time is known: all that compiled nothing."""

    steps: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def plus(self, seconds: float, tokens: int) -> "_Timed":
        return _Timed(self.steps + 1, self.seconds + seconds, self.tokens + tokens)

    def metrics(self) -> dict[str, float]:
        if not self.steps:
            return {}
        # A coarse clock may have counted nothing.
        seconds = max(self.seconds, 1e-9)
        return {
            "step_time": seconds / self.steps,
            "perf/tokens_per_second": self.tokens / seconds,
        }


class StepResult(NamedTuple):
    """What happened in a step; arrays are read a step later.

    Attributes:
      metrics: By name, scalars or `Mean`s.
      num_tokens: How many tokens it trained on, an int or a `Mean` whose total it is.
      skipped: A `Mean` or a scalar, positive if the update was left out, and then the
        metrics are not looked at; None: it was not.
    """

    metrics: Mapping[str, Any]
    num_tokens: Any
    skipped: Any = None


class _Late(NamedTuple):
    """A step that was dispatched, and whose result was not read yet."""

    step: int
    result: StepResult
    batch: Any
    compiled: bool


class Record:
    """Reads the metrics of step n once it is done or step n + 1 is on its way.

    Attributes:
      clock: Accounts for all of the run's time.
      is_new: Whether the run begins: no checkpoint was restored.
      after_evaluation: Called by the loop, after the line of an evaluation was written.
    """

    def __init__(
        self,
        metrics: MetricsLog,
        *,
        num_steps: int,
        host: Mapping[str, Any] | None = None,
        start: int = 0,
        learning_rate: Schedule | None = None,
        steps_per_epoch: float | None = None,
        logging_steps: int = 1,
        max_skipped: int = 5,
        after_evaluation: Callable[[int], None] = lambda step: None,
        clock: Clock | None = None,
        progress: Progress | None = None,
    ):
        """Goes on where a checkpoint stopped.

        Args:
          metrics: Where lines go; `timing.jsonl` and `bad_batch.npz` go beside it.
          num_steps: Of the run.
          host: What the checkpoint held for the host; None in a new run.
          start: The step of the state.
          learning_rate: Schedule that the optimizer follows, to log the rate used.
          steps_per_epoch: Batches in a pass over the data, to log `epoch`.
          logging_steps: Steps that each line of metrics is the mean of.
          max_skipped: Skipped steps in a row that end the run.
          after_evaluation: Called with the step, after its line was written: for plots.
          clock: Started with the process, to account for all of its time.
          progress: What people see.
        """
        self.clock, self.is_new = clock or Clock(), host is None
        host = host or {}
        self._metrics, self._progress = metrics, progress
        self._num_steps, self._logging_steps = num_steps, logging_steps
        self._learning_rate, self._steps_per_epoch = learning_rate, steps_per_epoch
        self._max_skipped, self.after_evaluation = max_skipped, after_evaluation
        self._window = Window(host.get("window"))
        self._skipped: int = host.get("skipped_steps", 0)
        self._in_a_row: int = host.get("skipped_in_a_row", 0)
        self._tokens: int = host.get("num_tokens", 0)
        # The optimizer saw no skipped step, so its schedule does not count them.
        self._updates = start - self._skipped
        self._pending: _Late | None = None
        self._bad: list[tuple[int, Any]] = []
        # A step compiles once for each set of shapes, so a new set tells a compilation.
        self._shapes: set[Any] = set()
        self._read_at = self._working_seconds()
        self._timed = _Timed()
        # A new run is evaluated before its first step.
        self._eval_due: bool = host.get("eval_due", not host)
        self.last_evaluation: dict[str, float] = {}
        self.compiles = False

    def evaluation_is_due(self, step: int) -> bool:
        """Whether the step that a run begins with is to be evaluated."""
        return self._eval_due and not self._metrics.has(step, "eval")

    def phase_of(self, batch: Any) -> str:
        """`compile` for the first batch with these shapes, else `step`.

        Before a compilation it waits for the step that is running, whose time would
        otherwise be counted as compilation.
        """
        shapes = tuple(x.shape for x in jax.tree.leaves(batch))
        self.compiles = shapes not in self._shapes
        self._shapes.add(shapes)
        if not self.compiles:
            return "step"
        self.catch_up()
        return "compile"

    def step(self, step: int, result: StepResult, batch: Any):
        """Takes what happened in a step that was just dispatched, unread."""
        late, self._pending = self._pending, _Late(step, result, batch, self.compiles)
        # Reading waits for the device, which by now has the next step to do.
        if late is not None:
            with self.clock.phase("step"):
                self._read(late)
        # On CPUs a step is done when it was dispatched: its time ends here, and not
        # with that of the next one.
        if _is_there(result):
            self.catch_up()

    def catch_up(self) -> None:
        """Waits for the last step, and reads its metrics too."""
        late, self._pending = self._pending, None
        if late is not None:
            with self.clock.phase("step"):
                self._read(late)

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the line of an evaluation."""
        named = {"eval_" + name.removeprefix("eval_"): v for name, v in values.items()}
        self.last_evaluation = named
        self._metrics.write(step, "eval", self._with_epoch(step) | named)
        if self._progress is not None:
            self._progress.evaluation(step, named)

    def say(self, step: int, text: str) -> None:
        """Prints a line about a step."""
        if self._progress is not None:
            self._progress.say(f"step {step}/{self._num_steps}  {text}")

    def host_state(self) -> dict[str, Any]:
        """What a checkpoint has to keep for the next line to come out the same."""
        # Lines up to the checkpoint must survive what it survives.
        self._metrics.flush()
        return {
            "window": self._window.sums,
            "skipped_steps": self._skipped,
            "skipped_in_a_row": self._in_a_row,
            "num_tokens": self._tokens,
        }

    def close(self, step: int) -> None:
        """Writes the last line of times."""
        self._write_times(step, {})

    def _read(self, late: _Late) -> None:
        step = late.step
        metrics, tokens, skipped = jax.device_get(tuple(late.result))
        tokens = int(getattr(tokens, "total", tokens))
        began, self._read_at = self._read_at, self._working_seconds()
        if not late.compiled:  # else an unknown part of the step ran while compiling
            self._timed = self._timed.plus(self._read_at - began, tokens)
        skipped = float(np.asarray(getattr(skipped, "total", skipped or 0.0))) > 0
        self._tokens += tokens
        # Of before the step is counted: that is the rate it was made with.
        rate = self._learning_rate(self._updates) if self._learning_rate else None
        if skipped:
            self._skipped += 1
            self._in_a_row += 1
            self._bad.append((step, late.batch))
            if self._progress is not None:
                self._progress.say(f"step {step} is not finite: its update is left out")
        else:
            self._updates += 1
            self._in_a_row = 0
            self._bad.clear()
            self._window.add(metrics)
        if step % self._logging_steps == 0 or step == self._num_steps:
            self._write(step, rate)
        # Behind its line, so that the file holds what led to the error.
        if self._in_a_row >= self._max_skipped:
            raise self._not_finite(step)

    def _write(self, step: int, rate: float | None) -> None:
        means = self._window.take()
        # `loss` comes first, for those who read the file.
        values = {name: means.pop(name) for name in ("loss",) if name in means} | means
        if rate is not None:
            values["learning_rate"] = float(rate)
        values |= self._with_epoch(step)
        values |= {"num_tokens": self._tokens, "skipped_steps": self._skipped}
        self._metrics.write(step, "train", values)
        times, self._timed = self._timed.metrics(), _Timed()
        self._write_times(step, times)
        if self._progress is not None:
            self._progress.update(step, values | times)

    def _write_times(self, step: int, times: Mapping[str, float]) -> None:
        line = {"step": step, "split": "train", **times}
        line["perf/compilations"] = len(self._shapes)
        line |= {f"time/{k}": v for k, v in self.clock.seconds().items()}
        append_line(self._metrics.path.with_name("timing.jsonl"), line)

    def _working_seconds(self) -> float:
        seconds = self.clock.seconds()
        # A wait for data belongs to a step's time; a save or an evaluation does not.
        return sum(seconds.get(x, 0.0) for x in ("step", "data", "generate", "reward"))

    def _with_epoch(self, step: int) -> dict[str, float]:
        if self._steps_per_epoch is None:
            return {}
        return {"epoch": step / self._steps_per_epoch}

    def _not_finite(self, step: int) -> NonFiniteError:
        path = self._metrics.path.with_name("bad_batch.npz")
        try:
            write_bad_batches(path, self._bad[-self._max_skipped :])
            where = f"{path} holds that batch and the indices of the examples in each"
        except OSError as error:
            where = f"They are not in {path} ({error.strerror})"
        return NonFiniteError(
            f"loss or gradient was not finite in {self._in_a_row} steps in a row, the "
            f"last of them step {step}; no parameter was touched by them. {where}. "
            "Look at those rows, or lower --optimizer.learning-rate"
        )


def _is_there(result: StepResult) -> bool:
    leaves = jax.tree.leaves(tuple(result))
    return all(x.is_ready() for x in leaves if hasattr(x, "is_ready"))


def host_is_sound(host: Mapping[str, Any]) -> bool:
    """Whether the host's part of a checkpoint is what `Record.host_state` gives.

    >>> host_is_sound({"window": {"loss": [1.5, 2.0]}, "skipped_steps": 0})
    True
    >>> host_is_sound({"window": ["loss"]})
    False
    """

    def is_number(x) -> bool:
        return isinstance(x, int | float)

    window = host.get("window", {})
    counts = (host.get(x, 0) for x in ("skipped_steps", "skipped_in_a_row"))
    return (
        isinstance(window, dict)
        and all(
            isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair))
            for pair in window.values()
        )
        and all(map(is_number, (*counts, host.get("num_tokens", 0))))
    )
