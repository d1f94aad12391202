"""What people see of a run: a bar that moves, or plain lines in a log."""

import contextlib
import os
import sys
import time
from collections.abc import Mapping
from typing import TextIO


class Progress:
    """Step, loss, the method's main number, learning rate, speed and time left."""

    def __init__(
        self,
        num_steps: int,
        *,
        main_metric: str | None = None,
        stream: TextIO | None = None,
    ):
        """Draws on `stream`; a moving bar only on a terminal without CI or NO_COLOR.

        Args:
          num_steps: Where the run ends.
          main_metric: Name of the number that tells how the method does, such as
            `rewards/accuracies`.
          stream: Standard error by default.
        """
        self._num_steps, self._main = num_steps, main_metric
        self._stream = stream or sys.stderr
        # A log would keep every frame of a moving line.
        plain = os.environ.get("CI") or os.environ.get("NO_COLOR")
        # There rich draws no bar before the end.
        plain = plain or os.environ.get("TERM") in ("dumb", "unknown")
        self._bar = None
        if self._stream.isatty() and not plain:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar
            from rich.table import Column

            # The line may hold brackets, in the name of a metric say: it is no markup.
            # A column of its own: else a narrow terminal cuts off speed and time left.
            line = TextColumn(
                "{task.description}", markup=False, table_column=Column(overflow="fold")
            )
            console = Console(file=self._stream)
            self._bar = Bar(BarColumn(20), line, console=console, refresh_per_second=4)
            self._bar.add_task("compiling", total=num_steps)

    def __enter__(self) -> "Progress":
        """Begins to draw."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception) -> None:
        """Leaves the last line standing."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the line of a step that was logged."""
        parts = [f"step {step}/{self._num_steps}"]
        names = ["loss"] + ([self._main] if self._main else [])
        parts += [f"{name} {values[name]:.4f}" for name in names if name in values]
        if "learning_rate" in values:
            parts.append(f"lr {values['learning_rate']:.2e}")
        if values.get("perf/tokens_per_second"):
            parts.append(f"{values['perf/tokens_per_second']:,.0f} tokens/s")
        if "step_time" in values:
            left = values["step_time"] * (self._num_steps - step)
            parts.append(f"{duration(left)} left")
        self._show(step, "  ".join(parts))

    def evaluation(self, step: int, values: Mapping[str, float]) -> None:
        """Prints a line that stays, with the held-out numbers."""
        shown = ["eval_loss"] + ([f"eval_{self._main}"] if self._main else [])
        parts = [f"{name} {values[name]:.4f}" for name in shown if name in values]
        self.say("  ".join([f"step {step}/{self._num_steps}", *parts]))

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        with _unless_gone():
            if self._bar is not None:
                # Square brackets in a text are no markup of rich's.
                self._bar.console.print(text, markup=False, highlight=False)
            else:
                print(text, file=self._stream, flush=True)

    def _show(self, step: int, line: str) -> None:
        with _unless_gone():
            if self._bar is not None:
                task = self._bar.task_ids[0]
                self._bar.update(task, completed=step, description=line)
            else:
                print(line, file=self._stream, flush=True)


def _unless_gone():
    """A terminal that was closed, or the reader of a pipe, ends no run."""
    return contextlib.suppress(OSError)


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    >>> duration(3725), duration(75), duration(9)
    ('1 h 02 min', '1 min 15 s', '9 s')
    """
    span = time.gmtime(round(seconds))
    days = round(seconds) // 86400
    if days:
        return f"{days} d {span.tm_hour} h"
    if span.tm_hour:
        return f"{span.tm_hour} h {span.tm_min:02} min"
    if span.tm_min:
        return f"{span.tm_min} min {span.tm_sec:02} s"
    return f"{span.tm_sec} s"
