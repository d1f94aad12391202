"""A polite request to stop: SIGTERM or Ctrl-C sets a flag, and the run looks at it."""

import os
import signal
import threading
import time


class StopRequest:
    """Whether somebody asked this process to stop, and when.

    Enter it before models are loaded or anything is compiled, and ask `requested`
    wherever a wait begins or ends. A second signal leaves at once, with code 143 for
    SIGTERM and 130 for Ctrl-C, and touches no file.

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
        self._previous = {}

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
        """Asks the run to stop, as a signal would."""
        self._since = time.monotonic()

    def __enter__(self) -> "StopRequest":
        """Takes over both signals, or neither outside of the main thread."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _handle(self, number, frame) -> None:
        if self.requested:
            os._exit(128 + number)
        self.request()
