"""SIGTERM before a command hears it by itself: there is nothing to save yet."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from jaxalign.os_errors import STOPPED

_PATIENCE = 1.0
"""Seconds in which the exception that a signal raises has to end the command."""


@contextlib.contextmanager
def leaving_on_request() -> Iterator[None]:
    """Inside, SIGTERM ends the program with code 75, and Ctrl-C with 130.

    The signal raises `SystemExit` wherever Python is. Where that comes to nothing, as
    in a callback of the garbage collector, or under an `except` without a name around
    an import, the process ends a moment later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late = threading.Timer(_PATIENCE, os._exit, [STOPPED])
    late.daemon = True

    def leave(number, frame):
        if not late.is_alive():
            late.start()
        sys.exit(STOPPED)

    def unraisable(what):
        if not isinstance(what.exc_value, SystemExit):
            told(what)

    told, sys.unraisablehook = sys.unraisablehook, unraisable
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, previous)
        sys.unraisablehook = told
        late.cancel()
