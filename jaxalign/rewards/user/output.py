"""What the process of a user's rewards prints: a file, of the run or for a while."""

import fcntl
import os
import tempfile
import weakref
from pathlib import Path
from typing import IO

_LARGEST = 256 << 20  # bytes of a log; then it begins anew
_SHOWN = 1 << 16


class Output:
    """The file, which is appended to by the process and looked into here.

    Attributes:
      path: Of the file; None for one that nobody else sees.
    """

    def __init__(self, path: Path | None = None):
        """Opens it; a log of an earlier start is gone on with.

        Raises:
          OSError: The path cannot be written.
        """
        self.path = path
        self.file: IO[bytes] = _temporary() if path is None else path.open("ab+")
        weakref.finalize(self, self.file.close)
        flags = fcntl.fcntl(self.file, fcntl.F_GETFL)
        # A temporary file needs it too: after `trim` the process would leave a hole.
        fcntl.fcntl(self.file, fcntl.F_SETFL, flags | os.O_APPEND)

    @property
    def size(self) -> int:
        """Its bytes so far."""
        return os.fstat(self.file.fileno()).st_size

    def since(self, start: int) -> str:
        """What was written from a place on, of much the end."""
        size = self.size
        start = max(start, size - _SHOWN)
        # A log that was trimmed may be shorter than `start`: then nothing is read.
        found = os.pread(self.file.fileno(), max(size - start, 0), start)
        return found.decode("utf-8", "replace")

    def trim(self) -> None:
        """Keeps it from filling the disk."""
        if self.size > _LARGEST:
            note = f"({self.size} bytes of earlier output are left out)\n"
            self.file.truncate(0)
            os.write(self.file.fileno(), note.encode())


def _temporary() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # there is no folder for it: nobody needs what is printed here
        return open(os.devnull, "w+b")
