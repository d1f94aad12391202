"""What people see of work that is counted and has no steps, such as completions."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

from jaxalign.training.log.line import Line, duration

T = TypeVar("T")
LINE_EVERY = 30.0
"""Seconds from one line of a log to the next."""


class Counted:
    """How many are done of how many, the speed and the time left.

    A bar that moves; in a log a line now and then, and none for what is done soon.

    >>> import sys
    >>> now = iter([0, 20, 40])
    >>> with Counted("rows", 90, sys.stdout, lambda: next(now)) as seen:
    ...     for done in (10, 20):
    ...         seen.update(done, tokens=100 * done)
    rows: 20/90  50 tokens/s  2 min 20 s left
    """

    def __init__(
        self,
        title: str | None,
        total: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Nothing is drawn yet.

        Args:
          title: What is done; None: nothing is shown.
          total: How many there are; of none nothing is shown.
          stream: Standard error by default.
          clock: In seconds.
        """
        self._title, self._total, self._clock = title, total, clock
        self._line = None
        if title and total:
            self._line = Line(title, total, stream, transient=True)
        self._begun = self._shown = clock()

    def __enter__(self) -> "Counted":
        """Begins to draw."""
        if self._line is not None:
            self._line.start()
        return self

    def __exit__(self, *exception) -> None:
        """Takes the bar away."""
        if self._line is not None:
            self._line.stop()

    def update(self, done: int, tokens: int = 0) -> None:
        """Shows how far it is.

        Args:
          done: How many are done.
          tokens: How many were read or written for them, for the speed.
        """
        if self._line is None:
            return
        now = self._clock()
        if not self._line.moves and now - self._shown < LINE_EVERY:
            return
        self._shown, passed = now, now - self._begun
        parts = [f"{self._title}: {done:,}/{self._total:,}"]
        if tokens and passed:
            parts.append(f"{tokens / passed:,.0f} tokens/s")
        if done:
            left = passed / done * (self._total - done)
            parts.append(f"{duration(left)} left")
        self._line.show(done, "  ".join(parts))

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items; one is done when the next one is asked for."""
        for done, item in enumerate(items, start=1):
            yield item
            self.update(done)
