"""A lock file that says who holds it, and that a killed process does not keep."""

import errno
import fcntl
import io
import json
import logging
import os
import pathlib
import socket
import stat
import time
from typing import Any

from jaxalign import plain_files
from jaxalign.errors import UserError
from jaxalign.os_errors import naming

_LOG = logging.getLogger("jaxalign")
_MOST = 1 << 16  # bytes of a lock file


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
            # The system gives a pid away again; the start time tells two processes
            # apart.
            "process_start": _process_start(os.getpid()),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
        with naming(self._path), _opened(self._path) as file:
            _lock_for_a_moment(file)
            if raw := file.read(_MOST).strip(b"\0 \n"):  # NULs after a power cut
                self._refuse_if_alive(raw, mine["host"])
            file.seek(0)
            file.truncate()
            file.write(json.dumps(mine).encode())
        self._mine = mine

    def release(self) -> None:
        """Gives the lock back, unless it is somebody else's by now."""
        if self._mine is None:
            return
        mine, self._mine = self._mine, None
        try:
            if plain_files.read_object(self._path, _MOST) == mine:
                # Emptied, not deleted: another start may have this very file open to
                # lock it.
                self._path.write_bytes(b"")
        except (OSError, plain_files.UnreadableError) as error:
            _LOG.warning("the lock %s is not given back: %s", self._path, error)

    def _refuse_if_alive(self, raw: bytes, host: str) -> None:
        held = _holder(raw)
        if held is None:
            name = "somebody who left no name"
        else:
            name = f"process {held['pid']} on {held['host']}, since {held.get('time')}"
            started = _process_start(held["pid"]) if held["host"] == host else ""
            if started is None or (started and started != held.get("process_start")):
                _LOG.warning("the lock of %s is taken over: it has ended", name)
                return
        raise UserError(
            f"{self._path.parent} is in use by {name}. Two runs in one folder would "
            f"destroy each other: wait, choose another --output-dir, or, if that one "
            f"has surely ended, delete {self._path}"
        )


def _opened(path: pathlib.Path) -> io.BufferedRandom:
    """The file of the lock for reading and writing, made if it is not there."""
    # Neither a link nor a pipe in its place is followed or waited for.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o666)
        if not stat.S_ISREG(mode := os.fstat(handle).st_mode):
            os.close(handle)
            raise IsADirectoryError(errno.EISDIR, plain_files.file_kind(mode), path)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ELOOP, errno.ENXIO):
            raise
        link = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise UserError(
            f"{path} is no file ({link}), and the lock of the run belongs "
            "there: move it away, or choose another --output-dir"
        ) from error
    return os.fdopen(handle, "r+b")


def _lock_for_a_moment(file) -> None:
    """Only for the decision, so that one of two late comers wins."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:  # some network disks have no such locks
        _LOG.warning("two starts at the same moment may collide: %s", error.strerror)


def _holder(raw: bytes) -> dict[str, Any] | None:
    try:
        held = plain_files.parse_object(raw)
    except plain_files.UnreadableError:
        return None
    pid = held.get("pid")
    known = isinstance(held.get("host"), str) and isinstance(pid, int) and pid > 0
    return held if known else None


def _process_start(pid: int) -> str | None:
    """When a process of this host started, in a form to compare; None if it is gone."""
    status = pathlib.Path(f"/proc/{pid}/stat")
    if status.parent.parent.joinpath("self").exists():
        try:
            # The name, in brackets, may hold blanks and brackets itself.
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            return None
        # A zombie has ended. The start time, field 22 of proc(5), is the 20th from
        # here.
        return None if fields[0] == "Z" else fields[19]
    try:
        # Signal 0 only asks whether the process is there.
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        # It lives, and is another user's.
        pass
    return "unknown"
