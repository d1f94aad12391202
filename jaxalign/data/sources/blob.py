"""The bytes of one file: in memory when it is small, by offset when it is not."""

import hashlib
import os
from collections.abc import Iterator

from jaxalign.data.sources import files

IN_MEMORY = 256 << 20
"""Files up to this many bytes are held in memory."""

# Bytes that are looked at together: few rounds in Python, little memory.
_CHUNK = 16 << 20


class Blob:
    """Random access to the (unpacked) bytes of a file that must not change.

    Remote and compressed files are always held in memory. A file read by offset that
    has changed since it was opened raises `UserError`.
    """

    def __init__(self, path: str):
        """Opens the file and takes its digest."""
        self.path = path
        # What is packed has no offsets, and a remote file is fetched whole anyway.
        packed = files.is_remote(path) or path.endswith((".gz", ".zst"))
        self._data = None
        if packed or not os.path.exists(path) or os.path.getsize(path) <= IN_MEMORY:
            self._data = files.read_bytes(path)
            self.size = len(self._data)
            self.digest = hashlib.sha256(self._data).hexdigest()
        else:
            self._stamp = files.stamp(path)
            self.size = self._stamp[0]
            self.digest = files.digest([path])

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to before `stop`."""
        if self._data is not None:
            return self._data[start:stop]
        with files.open_local(self.path) as file:
            # Offsets of the old file would cut the new one in the middle of its rows.
            files.check_unchanged(self.path, self._stamp)
            file.seek(start)
            return file.read(stop - start)

    def chunks(self) -> Iterator[bytes]:
        """All bytes, in pieces."""
        for start in range(0, self.size, _CHUNK):
            yield self.read(start, start + _CHUNK)
