"""A line that moves on a terminal, and lines that stay in a log."""

import contextlib
import os
import sys
import time
from typing import TextIO


class Line:
    """A bar with a line behind it; plain lines without a terminal, or as one asks.

    `CI` and `NO_COLOR` ask for plain lines.
    """

    def __init__(
        self,
        waiting: str,
        total: int,
        stream: TextIO | None = None,
        *,
        transient: bool = False,
    ):
        """Nothing is drawn yet.

        Args:
          waiting: What the bar says before there is a number.
          total: Where the bar ends.
          stream: Standard error by default.
          transient: Whether the bar goes away in the end.
        """
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
            console, columns = Console(file=self._stream), (BarColumn(20), line)
            self._bar = Bar(
                *columns, console=console, refresh_per_second=4, transient=transient
            )
            self._bar.add_task(waiting, total=total)

    @property
    def moves(self) -> bool:
        """Whether there is a bar, so that a line takes the place of the last one."""
        return self._bar is not None

    def start(self) -> None:
        """Begins to draw."""
        if self._bar is not None:
            self._bar.start()

    def stop(self) -> None:
        """Draws no more."""
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        with _unless_gone():
            if self._bar is not None:
                # Square brackets in a text are no markup of rich's.
                self._bar.console.print(text, markup=False, highlight=False)
            else:
                print(text, file=self._stream, flush=True)

    def show(self, done: int, text: str) -> None:
        """Moves the bar; in a log, prints a line."""
        with _unless_gone():
            if self._bar is not None:
                task = self._bar.task_ids[0]
                self._bar.update(task, completed=done, description=text)
            else:
                print(text, file=self._stream, flush=True)


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
