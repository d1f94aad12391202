"""Chat templates rendered in a process of their own, which the system keeps in bounds.

The process is started at the first rendering, serves many, and ends with this one. It
gets plain JSON and gives back text; a template that passes a limit costs the process,
and the next rendering starts another.
"""

import atexit
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxalign.errors import UserError

# A sound template takes milliseconds.
TIME_LIMIT = 2.0
"""Seconds of processor time that a rendering may take."""
# 32 bytes for each of the characters that a rendering may have.
MEMORY_LIMIT = 256 * 2**20
"""Bytes that the process may take beyond what it has at its start."""

# Processor time is what a template can use up. The wall clock also runs while a busy
# machine leaves the process waiting, so its limit only ends what hangs.
_PATIENCE = 10.0
_WORKER = pathlib.Path(__file__).with_name("render_worker.py")
# Of the environment the process gets what Python needs to start, and no secrets.
_ENVIRONMENT = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "PATH", "VIRTUAL_ENV", "SYSTEM")


class LimitError(UserError):
    """The template would take more time or memory than it may."""


class Refused(NamedTuple):
    """A rendering that the template refuses, or that fails in it."""

    reason: str


class _DiedError(Exception):
    """The process ended for a reason that lies outside of the template."""


class Renderer:
    """The process that renders, started when it is needed.

    Threads may share it; a process forked from this one starts its own.
    """

    def __init__(self, seconds: float = TIME_LIMIT, memory: int = MEMORY_LIMIT):
        """Takes the limits of one rendering; starts nothing."""
        self._seconds, self._memory = seconds, memory
        self._process: subprocess.Popen | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()

    def render(
        self,
        source: str,
        variables: Sequence[Mapping[str, Any]],
        *,
        time: str,
        block: tuple[str, str],
    ) -> list[str | Refused]:
        """A template's renderings of several sets of variables, in one go.

        Args:
          source: the Jinja text.
          variables: for each rendering, made of plain JSON types.
          time: ISO 8601, what `strftime_now` reads.
          block: the characters put around the text of a generation block.

        Returns:
          For each set of variables the text, or why there is none.

        Raises:
          LimitError: the template passes a limit.
        """
        request = {"source": source, "time": time, "block": block}
        line = json.dumps({**request, "variables": list(variables)}) + "\n"
        if self._owner != os.getpid():
            self._forget()
        with self._lock:
            try:
                # The system may have ended it while it idled; twice in a row is another
                # thing.
                try:
                    return self._ask(line.encode("ascii"), len(variables))
                except _DiedError:
                    self._end()
                    return self._ask(line.encode("ascii"), len(variables))
            except _DiedError as error:
                self._end()
                raise UserError(
                    f"The process that renders chat templates ends at once ({error})."
                    " Free memory, and look for what ends processes on this machine."
                ) from error
            except BaseException:
                # An answer that is half read would be taken for the next one's.
                self._end()
                raise

    def close(self) -> None:
        """Ends the process; the next rendering starts another."""
        if self._owner != os.getpid():
            self._forget()
        with self._lock:
            self._end()

    def _ask(self, line: bytes, count: int) -> list[str | Refused]:
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            # A pipe takes only a part of a long line at a time.
            while line:
                line = line[os.write(process.stdin.fileno(), line) :]
        except BrokenPipeError as error:
            raise _DiedError("it closed its end of the pipe") from error
        lines = self._lines(process, count)
        found: list[str | Refused] = []
        for said in map(json.loads, lines):
            if "limit" in said:
                raise LimitError(self._reason(said["limit"]))
            found.append(said["text"] if "text" in said else Refused(said["error"]))
        return found

    def _reason(self, limit: str) -> str:
        if limit == "memory":
            return f"it needs more than {self._memory >> 20} MB"
        return limit

    def _start(self) -> subprocess.Popen:
        # -P: the worker's folder has modules that must not stand for those of Python.
        command = [sys.executable, "-P", str(_WORKER), str(self._seconds)]
        self._process = subprocess.Popen(
            [*command, str(self._memory), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Sets come in one order in each process, so a row renders alike.
            env={k: v for k, v in os.environ.items() if k.startswith(_ENVIRONMENT)}
            | {"PYTHONHASHSEED": "0"},
            bufsize=0,
            start_new_session=True,  # signals to a terminal's or a job's group pass by
        )
        self._lines(self._process, 1)
        return self._process

    def _lines(self, process: subprocess.Popen, count: int) -> list[bytes]:
        """So many lines of the process; each may take the time of a rendering."""
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        read = bytearray()
        while read.count(b"\n") < count:
            if not poll.poll(1000 * (count * self._seconds + _PATIENCE)):
                raise LimitError(f"it does not end within {self._seconds:g} s")
            piece = os.read(process.stdout.fileno(), 1 << 20)
            if piece:
                read += piece
            elif not read.endswith(b"\n") or b'{"limit"' not in read:
                raise self._death(process)
            else:
                break
        return bytes(read).splitlines()

    def _death(self, process: subprocess.Popen) -> Exception:
        code = process.wait()
        if code == -signal.SIGPROF:
            return LimitError(f"it runs for more than {self._seconds:g} s")
        # C code ends so when a recursion leaves the stack, or memory is not there.
        if code in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
            return LimitError(f"it needs too much memory or nests too deeply ({code})")
        return _DiedError(f"exit code {code}")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close(process)

    def _forget(self) -> None:
        """In a forked process: leaves the parent's process alone."""
        process, self._process = self._process, None
        self._owner, self._lock = os.getpid(), threading.Lock()
        if process is not None:
            process.returncode = 0  # not ours to wait for
            _close(process)


def _close(process: subprocess.Popen) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


RENDERER = Renderer()
"""The one of this process."""
atexit.register(RENDERER.close)
