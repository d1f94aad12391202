"""The run's end of the line to the process of a user's rewards."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import IO, Any

from jaxalign.errors import UserError
from jaxalign.rewards.user.wire import line_of, message_of

_GUARD = Path(__file__).with_name("guard.py")
_FAREWELL = 1.0  # seconds that the process has to end by itself
_PART = 1 << 20


class Connection:
    """A process, and the messages to it and from it.

    It has its own session and no input; JAX in it computes on the CPU, unless the code
    says otherwise before it imports JAX, since the accelerators are the run's.

    Attributes:
      ended: How it ended, as the end of a sentence that begins with a reward; or None.
    """

    def __init__(self, settings: dict[str, Any], folder: str, output: IO[bytes]):
        """Starts the process.

        Args:
          settings: The first message.
          folder: Current folder of the process.
          output: Where what it prints goes.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = _started(theirs.fileno(), folder, output)
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self.ended: str | None = None
        self._socket, self._process = ours, process
        self._out, self._in = bytearray(), bytearray()
        self._inbox: list[dict[str, Any]] = []
        # Also when it is dropped, or the interpreter ends.
        self._finalizer = weakref.finalize(self, _end, ours, process)
        self.send(settings)

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message; what does not fit is sent while replies are waited for."""
        if self.ended is None:
            self._out += line_of(message)
            self._pump(0)

    def receive(self, seconds: float) -> list[dict[str, Any]]:
        """The messages that come within some seconds; as soon as there is one.

        Afterwards `ended` says whether more can come.
        """
        end = time.monotonic() + seconds
        # A large reply comes in parts: what has moved need not complete a message.
        while self.ended is None:
            moved = self._pump(max(end - time.monotonic(), 0))
            if self._inbox or not moved:
                break
        messages, self._inbox = self._inbox, []
        return messages

    def _pump(self, seconds: float) -> bool:
        """Sends and receives what it can; whether there was anything."""
        wanted = select.POLLIN | (select.POLLOUT if self._out else 0)
        poll = select.poll()
        poll.register(self._socket, wanted)
        events = dict(poll.poll(1000 * seconds)).get(self._socket.fileno(), 0)
        if events & select.POLLOUT:
            self._write()
        if events & ~select.POLLOUT and self.ended is None:
            self._read()
        if events:
            return True
        # Somebody whom it started may hold its end of the line, and live on.
        if self._process.poll() is not None:
            self._has_ended()
        return False

    def end(self, why: str) -> None:
        """Ends the process now, with all that it has started.

        Args:
          why: What `ended` is to say.
        """
        if self.ended is None:
            self.ended = why
        self._finalizer()

    def close(self) -> None:
        """Lets the process end by itself, and ends it if it does not."""
        if self.ended is None:
            self.ended = "has been closed"
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL)
        self._finalizer()

    def _write(self) -> None:
        try:
            while self._out:
                del self._out[: self._socket.send(self._out[:_PART])]
        except BlockingIOError:
            pass
        except OSError:
            self._has_ended()

    def _read(self) -> None:
        try:
            part = self._socket.recv(_PART)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            self._has_ended()
            return
        self._in += part
        # Only the new part is searched, or a reply of many parts took quadratic time.
        if b"\n" not in part:
            return
        *lines, self._in = self._in.split(b"\n")
        try:
            self._inbox += map(message_of, lines)
        except (ValueError, RecursionError):
            self.end("has written into the line of its process to the run")

    def _has_ended(self) -> None:
        try:
            code = self._process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            self.end("has closed the line of its process to the run")
            return
        self.end(_how(code))


def _started(channel: int, folder: str, output: IO[bytes]) -> subprocess.Popen:
    guard = ["-P", str(_GUARD), str(channel), str(os.getpid())]
    try:
        return subprocess.Popen(
            [sys.executable, *guard],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            pass_fds=[channel],
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(
            f"the process of the rewards cannot be started in {folder}: {error}. Is "
            "the folder still there, and are there memory and processes left? It "
            f"runs {sys.executable}."
        ) from error


def _how(code: int) -> str:
    if code >= 0:
        return f"ended its own process (exit code {code})"
    names = {x.value: x.name for x in signal.Signals}
    name = names.get(-code, f"signal {-code}")
    why = {
        "SIGKILL": "it was ended from outside, as where memory runs out",
        "SIGTERM": "it was ended from outside",
    }.get(name, "a crash of code that is not Python")
    return f"lost its process to {name}: {why}"


def _end(ours: socket.socket, process: subprocess.Popen) -> None:
    """Hangs up, which the guard takes as the sign to end everything."""
    ours.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:  # the guard itself is stopped, or was
        process.kill()
        process.wait()
