"""A lock file that says who holds it, and that a killed process does not keep."""

import fcntl
import json
import logging
import os
import pathlib
import socket
import time
from typing import Any

from jaxalign.errors import UserError

_LOG = logging.getLogger("jaxalign")


class Lock:
    """Holds a folder for one process: a file with host, pid and start time."""

    def __init__(self, path: pathlib.Path):
        """The file appears when the lock is acquired."""
        self._path = path
        self._mine: dict[str, Any] | None = None

    def acquire(self) -> None:
        """Takes the lock, also from a process of this host that no longer lives.

        Raises:
          UserError: Somebody else holds it.
        """
        mine = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_start": _process_start(os.getpid()),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        with self._path.open("a+", encoding="utf-8") as file:
            # Only for the moment of decision, so that one of two late comers wins.
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            text = file.read()
            if text.strip():
                self._refuse_if_alive(text, mine["host"])
            file.truncate(0)
            file.write(json.dumps(mine))
        self._mine = mine

    def release(self) -> None:
        """Gives the lock back, unless it is somebody else's by now."""
        if self._mine is None:
            return
        mine, self._mine = self._mine, None
        try:
            held = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if held == mine:
            self._path.write_text("", encoding="utf-8")

    def _refuse_if_alive(self, text: str, host: str) -> None:
        try:
            held = json.loads(text)
            holder = f"process {held['pid']} on {held['host']}, since {held['time']}"
        except (ValueError, KeyError, TypeError):
            held, holder = None, "somebody who left no name"
        if held and held["host"] == host:
            started = _process_start(held["pid"])
            if started is None or started != held.get("process_start"):
                _LOG.warning("the lock of %s is taken over: it has ended", holder)
                return
        raise UserError(
            f"{self._path.parent} is in use by {holder}. Two runs in one folder would "
            f"destroy each other: wait, choose another --output-dir, or, if that one "
            f"has surely ended, delete {self._path}"
        )


def _process_start(pid: int) -> str | None:
    """When a process of this host started, in a form to compare; None if it is gone."""
    stat = pathlib.Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"
