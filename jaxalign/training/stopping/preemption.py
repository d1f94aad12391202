"""A polite request to stop: SIGTERM, SIGHUP or Ctrl-C, and how a run hears it.

There are three ways, and every wait of a run goes one of them:

* Between two pieces of work the run looks: `requested`, or `check()`, which raises
  `AskedToStop`. A layer that may not know this class takes such a function.
* Work that may be dropped (loading, sampling, waiting for rewards, evaluation) stands
  in `with stop.at_once():`. There the request is raised where the main thread is, also
  in the middle of a `sleep`, a read or a wait for another process.
* While the main thread computes inside of a library it hears nothing, perhaps for the
  minutes of a compilation. A thread of ours does. Inside `with stop.rescued(save):`
  it calls `save`, and inside of `at_once` alone it needs to save nothing; then it ends
  the process with code 75.
"""

import contextlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from jaxalign.training.stopping.exits import STOPPED
from jaxalign.training.stopping.signals import ECHOES, HEARD, NUDGE, Signals

_LOG = logging.getLogger("jaxalign")

PATIENCE = 1.0
"""Seconds that the main thread has to hear a request by itself."""
_WAY_OUT = 5.0  # seconds that it has, once it has heard, to leave what it was doing
_TOGETHER = 1.0  # seconds within which a second SIGTERM is the first one's echo


class AskedToStop(BaseException):
    """The run was asked to stop, and what it was doing may be dropped.

    Not an `Exception`, so that no handler takes it for a failure of the work.
    """

    exit_code = STOPPED


class StopRequest:
    """Whether somebody asked this process to stop, and when.

    Enter it before models are loaded or anything is compiled. A second signal leaves at
    once, with code 143 for SIGTERM and 130 for Ctrl-C, and touches no file; a SIGTERM
    right behind another is its echo, as supervisors send it to a process and its group.

    >>> with StopRequest() as stop:
    ...     stop.requested
    False
    """

    def __init__(self, grace_seconds: float = 25.0):
        """Nothing happens before it is entered.

        Args:
          grace_seconds: How long after the request the process may go on.
        """
        self._grace_seconds = grace_seconds
        self._since: float | None = None
        self._heard = False  # by the main thread: `AskedToStop` was raised
        self._raises = False
        self._droppable = False
        self._rescue: Callable[[], bool] | None = None
        self._last_words: list[Callable[[], None]] = []
        # Held by whoever ends the run: the main thread, or the one that rescues.
        self._turn = threading.RLock()
        self._signals: Signals | None = None
        self._told: Callable[[Any], object] = sys.unraisablehook

    @property
    def requested(self) -> bool:
        """Whether the run is to stop."""
        return self._since is not None

    @property
    def seconds_left(self) -> float:
        """What is left of the grace period; infinite if nobody asked."""
        if self._since is None:
            return float("inf")
        return self._grace_seconds - (time.monotonic() - self._since)

    def request(self) -> None:
        """Asks the run to stop; a signal does the same, and is heard sooner."""
        if self._since is None:
            self._since = time.monotonic()

    def check(self) -> None:
        """Raises `AskedToStop` if the run is to stop."""
        if self.requested:
            self._heard = True
            raise AskedToStop

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, `AskedToStop` is raised wherever the main thread is.

        The work inside must leave nothing half-done that matters: files are written
        under another name first, and arrays are not consumed.
        """
        with self._span(True, self._rescue):
            self.check()
            yield
            self.check()

    @contextlib.contextmanager
    def between_steps(self) -> Iterator[None]:
        """Inside, nothing is raised: the work looks for itself, also in `at_once`.

        What came meanwhile is raised at its end, if it stands in `at_once`.
        """
        with self._span(False, None):
            yield

    @contextlib.contextmanager
    def rescued(self, save: Callable[[], bool]) -> Iterator[None]:
        """Inside, another thread may end the run if the main thread hears nothing.

        Args:
          save: Called in that thread; saves what there is, and says whether the process
            may end. While it runs the main thread cannot leave the block.
        """
        with self._span(self._droppable, save):
            yield

    def on_leaving(self, last_word: Callable[[], None]) -> None:
        """Also calls `last_word` before the other thread ends the process."""
        self._last_words.append(last_word)

    def __enter__(self) -> "StopRequest":
        """Takes over the signals, or none of them outside of the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._told, sys.unraisablehook = sys.unraisablehook, self._unraisable
            self._signals = Signals(self._handle, self._listen)
        return self

    def __exit__(self, *exception) -> None:
        """Gives the signals back."""
        if self._signals is not None:
            self._signals.close(ending=self.requested)
            self._signals = None
            sys.unraisablehook = self._told

    @contextlib.contextmanager
    def _span(self, droppable: bool, rescue: Callable[[], bool] | None):
        before = self._droppable, self._rescue
        self._droppable, self._rescue = droppable, rescue
        self._raises = droppable and not self._heard
        try:
            yield
        finally:
            self._raises = False  # first: the rest is not to be interrupted
            with self._turn:
                self._droppable, self._rescue = before
                self._raises = before[0] and not self._heard
            if before[0] and not self._heard:
                self.check()  # what came while nothing was raised

    def _handle(self, number: int, frame) -> None:
        """Python's own handler, in the main thread."""
        del frame
        if number != NUDGE:
            self.request()
        if self._raises and self.requested:
            self._raises = False
            with self._turn:  # for ever, if the other thread is ending the process
                self.check()

    def _unraisable(self, what) -> None:
        """`AskedToStop` came to nothing, in a callback of the garbage collector, say.

        It is raised again when the other thread nudges this one.
        """
        if isinstance(what.exc_value, AskedToStop):
            self._heard, self._raises = False, self._droppable
        else:
            self._told(what)

    def _listen(self, pipe: int) -> None:
        """The other thread: hears every signal at once, whatever the main one does."""
        leaving: threading.Thread | None = None
        heard = False
        while True:
            # Once asked to stop, it also looks whether the main thread hears it.
            wait = 0.1 if self.requested else None
            if select.select([pipe], [], [], wait)[0]:
                raw = os.read(pipe, 64)
                if not raw:
                    return
                for number in (n for n in raw if n in HEARD):
                    if heard and not self._is_echo(number):
                        # sys.exit would end this thread only.
                        os._exit(128 + number)
                    self.request()
                    if not heard:
                        _say(number)
                    if self._raises and self._signals is not None:
                        self._signals.nudge()
                    heard = True
            elif self._raises and self._signals is not None:
                self._signals.nudge()
            if self._is_stuck and (leaving is None or not leaving.is_alive()):
                leaving = threading.Thread(target=self._leave, daemon=True)
                leaving.start()

    @property
    def _may_leave(self) -> bool:
        return self._droppable or self._rescue is not None

    @property
    def _is_stuck(self) -> bool:
        """Whether the main thread had its time and is where it may be given up."""
        patience = _WAY_OUT if self._heard else PATIENCE
        return self._may_leave and self._seconds_gone() > patience

    def _seconds_gone(self) -> float:
        return 0.0 if self._since is None else time.monotonic() - self._since

    def _is_echo(self, number: int) -> bool:
        return number in ECHOES and self._seconds_gone() < _TOGETHER

    def _leave(self) -> None:
        """Ends the process in place of the main thread, unless that has woken up."""
        with self._turn:
            if not self._may_leave:
                return
            try:
                if self._rescue is not None and not self._rescue():
                    return
            except Exception as error:
                _LOG.warning("while stopping: %s", error)
                self._droppable, self._rescue = False, None  # not again
                return
            for last_word in self._last_words:
                with contextlib.suppress(Exception):
                    last_word()
            # os._exit flushes nothing.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            os._exit(STOPPED)


def _say(number: int) -> None:
    text = f"{signal.Signals(number).name}: stopping; a second one leaves at once"
    with contextlib.suppress(Exception):
        print(text, file=sys.stderr, flush=True)
