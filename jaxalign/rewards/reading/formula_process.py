"""A process that compares formulas, so that a hopeless one costs its time only."""

import atexit
import functools
import json
import os
import queue
import subprocess
import sys
import threading
import warnings
from pathlib import Path

from jaxalign.errors import UserError

TIME_LIMIT = 5.0
"""Seconds for one comparison; beyond them the completion counts as wrong."""
START_LIMIT = 120.0
"""Seconds for the start, in which it imports sympy."""


class FormulaProcess:
    """Starts at the first comparison, and anew after one that did not end."""

    def __init__(self, time_limit: float = TIME_LIMIT):
        """Nothing is started yet."""
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.Queue[str] = queue.Queue()
        self._owner = 0
        atexit.register(self.close)

    @staticmethod
    @functools.cache
    def shared() -> "FormulaProcess":
        """The one of this program."""
        return FormulaProcess()

    def same(self, accepted: str, text: str) -> bool:
        """Whether a text comes to the accepted formula; from any thread.

        Warns:
          UserWarning: It took longer than the limit, or more memory than there is.

        Raises:
          UserError: The process cannot be started.
        """
        with self._lock:
            if self._owner != os.getpid() or self._process is None:
                self._start()
            assert self._process is not None
            assert self._process.stdin is not None
            try:
                line = json.dumps({"accepted": accepted, "text": text})
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
                reply = self._replies.get(timeout=self._time_limit)
            except (queue.Empty, OSError):
                reply = ""
            if not reply:
                self.close()
                warnings.warn(
                    f"the formula of a completion could not be compared with "
                    f"{accepted!r:.80} within {self._time_limit:g} s and 2 GiB; it "
                    f"counts as wrong: {text[-120:]!r}",
                    stacklevel=2,
                )
            return reply == "true"

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _start(self) -> None:
        worker = Path(__file__).with_name("formula_worker.py")
        self._owner, self._replies = os.getpid(), queue.Queue()
        # -P: the folder of the worker is no place to import from.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(worker)],
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
            raise UserError(
                "math-verify cannot be started, which compares formulas. See what "
                f"`{sys.executable} -c 'import math_verify'` says; install it with "
                "pip install 'jaxalign[math]'."
            )


def _read(process: subprocess.Popen[str], replies: "queue.Queue[str]") -> None:
    """Hands on what the process says; an empty line when it ends."""
    assert process.stdout is not None
    for line in process.stdout:
        replies.put(line.strip())
    replies.put("")
