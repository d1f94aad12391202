"""ArrayRecord files, by the reader that grain uses."""

import os
import threading
from typing import Any

from jaxalign.data.sources import files
from jaxalign.data.sources.blob import IN_MEMORY
from jaxalign.data.sources.tf_example import decode_payload
from jaxalign.errors import UserError

_TOGETHER = 256  # records that are unpacked before their size is looked at


class ArrayRecord:
    """Rows of an `.array_record` file, each a JSON object or a `tf.train.Example`."""

    def __init__(self, path: str):
        """Opens the file; a small one is read whole."""
        self.path = path
        if files.is_remote(path):
            raise UserError(
                f"{path}: ArrayRecord files are read from disk only. Copy it here."
            )
        # Rows are asked for by several threads, and the reader serves one at a time.
        self._lock = threading.Lock()
        self._reader: Any = None
        self._records: list[bytes] | None = None
        self._digest = files.digest([path])
        self._length = self._open().num_records()
        if os.path.getsize(path) <= IN_MEMORY:
            self._records = self._read_all()
            self._reader.close()
            self._reader = None

    def __len__(self) -> int:
        """Number of rows."""
        return self._length

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`."""
        if not -self._length <= i < self._length:
            raise IndexError(f"row {i} of {self._length}")
        i %= self._length
        payload = self._read([i])[0] if self._records is None else self._records[i]
        return decode_payload(payload, self.where(i))

    def where(self, i: int) -> str:
        """File and index of row `i`, as in `pairs.array_record[811]`."""
        return f"{self.path}[{i % self._length}]"

    def fingerprint(self) -> str:
        """sha256 over the file's bytes."""
        return self._digest

    def __getstate__(self):
        """Everything but the open reader and its lock."""
        return {**self.__dict__, "_reader": None, "_lock": None}

    def __setstate__(self, state):
        """Takes the state; the file is opened again when it is needed."""
        self.__dict__.update(state, _lock=threading.Lock())

    def _open(self) -> Any:
        if self._reader is None:
            from array_record.python.array_record_module import (  # pyright: ignore
                ArrayRecordReader,
            )

            reader = ArrayRecordReader(self.path)
            if not reader.ok():
                # The reason why the reader is not usable comes with its close().
                try:
                    reader.close()
                except RuntimeError as error:
                    raise self._damaged(error) from error
                raise self._damaged("not an ArrayRecord file")
            self._reader = reader
        return self._reader

    def _read(self, indices) -> list[bytes]:
        try:
            with self._lock:
                return self._open().read(list(indices))
        except RuntimeError as error:
            raise self._damaged(error) from error

    def _read_all(self) -> list[bytes]:
        records, size, packed = [], 0, os.path.getsize(self.path)
        for start in range(0, self._length, _TOGETHER):
            some = self._read(range(start, min(start + _TOGETHER, self._length)))
            size += sum(map(len, some))
            # Records are compressed, so a small file may unpack to anything.
            files.check_unpacked(self.path, size, packed)
            records += some
        return records

    def _damaged(self, reason: object) -> UserError:
        return UserError(
            f"{self.path}: the file is cut off or damaged ({reason}; "
            f"{os.path.getsize(self.path)} bytes). Copy or make it again."
        )
