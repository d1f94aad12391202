"""A program of ours that answers a line of JSON with a line, within a time limit."""

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError

START_LIMIT = 120.0
"""Seconds for the start, in which it imports what it needs."""


class BoundedProcess:
    """Starts at the first request, and anew after one that was not answered in time.

    Threads may share it; a process forked from this one starts its own.
    """

    def __init__(self, worker: str, time_limit: float, *, fails: str):
        """Nothing is started yet.

        Args:
          worker: File beside this one; it says `ready`, and then answers each line.
          time_limit: Seconds for an answer.
          fails: What to tell people where it cannot be started.
        """
        self._worker, self._fails = Path(__file__).with_name(worker), fails
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str] = queue.Queue()
        self._owner = 0
        atexit.register(self.close)

    @property
    def time_limit(self) -> float:
        """Seconds for an answer."""
        return self._time_limit

    def ask(self, request: dict[str, Any]) -> str | None:
        """The line that answers a request; None if there was none in time.

        Raises:
          UserError: The process cannot be started.
        """
        with self._lock:
            # A fork has this object, but the process and its pipes are its parent's.
            if self._owner != os.getpid() or self._process is None:
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            reply = ""
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
                reply = self._replies.get(timeout=self._time_limit)
            except (queue.Empty, OSError):
                pass
            finally:  # also where a signal ends the wait: its reply is no other's
                if not reply:
                    self.close()
            return reply or None

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _start(self) -> None:
        # A new queue: the last reader puts an empty line into the old one when it ends.
        self._owner, self._replies = os.getpid(), queue.Queue()
        # -P: the folder of the worker is no place to import from.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(self._worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # a Ctrl-C is for us to answer
        )
        threading.Thread(
            target=_read, args=(self._process, self._replies), daemon=True
        ).start()
        try:
            started = self._replies.get(timeout=START_LIMIT) == "ready"
        except queue.Empty:
            started = False
        if not started:
            self.close()
            raise UserError(self._fails)


def _read(process: subprocess.Popen[str], replies: "queue.Queue[str]") -> None:
    """Hands on what the process says; an empty line when it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        replies.put(line.strip())
    replies.put("")
