"""Signals, heard in the main thread and in one that never computes."""

import os
import signal
import threading
from collections.abc import Callable

HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Those that ask a process to stop."""
ECHOES = (signal.SIGTERM, signal.SIGHUP)
"""Those that supervisors send to a process and to its group."""
NUDGE = signal.SIGURG  # means nothing to anybody here


class Signals:
    """Handlers of the signals, and a thread that reads from a pipe which came."""

    def __init__(self, handle, listen: Callable[[int], None]):
        """Takes the signals over, in the main thread.

        Args:
          handle: What Python calls in the main thread, when that is at its bytecode;
            for a `nudge` too.
          listen: Runs in the other thread, with the pipe to read from: a byte for each
            signal, at once, and an end when this is closed.
        """
        self._read, self._write = os.pipe()
        # A full pipe must not hold up the main thread.
        os.set_blocking(self._write, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._previous = {
            number: signal.signal(number, handle)
            for number in HEARD
            # Ignored under nohup, and of what runs in the background.
            if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN
        }
        self._previous[NUDGE] = signal.signal(NUDGE, handle)
        self._thread = threading.Thread(
            target=listen, args=(self._read,), name="signals", daemon=True
        )
        self._thread.start()
        _taken.append(self)

    def nudge(self) -> None:
        """Wakes the main thread, so that it looks which signals have come.

        Of two signals at the same moment the kernel may give both to another thread;
        then what the main thread waits in is not interrupted.
        """
        signal.pthread_kill(threading.main_thread().ident or 0, NUDGE)

    def close(self, ending: bool) -> None:
        """Puts back what was there before.

        Args:
          ending: Whether the process ends because of a signal. An echo of it would
            otherwise kill what has nothing left to do but end with its own code.
        """
        _taken.remove(self)
        for number, before in self._previous.items():
            if ending and before is signal.SIG_DFL and number in ECHOES:
                self._previous[number] = signal.SIG_IGN
        self.restore(self._wakeup)
        # This ends the thread's read; only then may the other end be closed.
        os.close(self._write)
        self._thread.join()
        os.close(self._read)

    def restore(self, wakeup: int) -> None:
        """Puts back the handlers, and `wakeup` as what is told of signals."""
        signal.set_wakeup_fd(wakeup)
        for number, handler in self._previous.items():
            signal.signal(number, handler)


_taken: list[Signals] = []


def _forget() -> None:
    """In a forked child, which shares the pipe: what it is sent is not for us."""
    while _taken:
        _taken.pop().restore(-1)


os.register_at_fork(after_in_child=_forget)
