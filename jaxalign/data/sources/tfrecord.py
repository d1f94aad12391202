"""TFRecord files, read with their checksums and without TensorFlow."""

import struct
from typing import Any

from jaxalign.data.sources.blob import Blob
from jaxalign.data.sources.tf_example import decode_payload
from jaxalign.errors import RowError, UserError

# The length and its checksum come before a record, the record's own behind it.
_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum (RFC 3720, appendix B.4), which zlib does not have.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecord files store it: rotated and shifted.

    >>> masked_crc32c(b"") == 0xA282EAD8
    True
    """
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            # The polynomial of Castagnoli with its bits reversed.
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_TABLE = _table()


class TFRecord:
    """Rows of a `.tfrecord` file, each a JSON object or a `tf.train.Example`.

    Lengths are checked when the file is opened, contents when a row is read.
    """

    def __init__(self, path: str):
        """Walks through the file to find its records."""
        self.path = path
        self._blob = Blob(path)
        self._spans = self._index()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._spans)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`; `RowError` if its checksum is wrong."""
        start, stop = self._spans[i]
        record = self._blob.read(start, stop + _TAIL.size)
        payload = record[: -_TAIL.size]
        if _TAIL.unpack(record[-_TAIL.size :])[0] != masked_crc32c(payload):
            raise RowError(
                self.where(i),
                f"the checksum of the record at byte {start} is wrong",
                "The file is damaged: copy or make it again.",
            )
        return decode_payload(payload, self.where(i))

    def where(self, i: int) -> str:
        """File and index of row `i`, as in `pairs.tfrecord[811]`."""
        return f"{self.path}[{i % len(self)}]"

    def fingerprint(self) -> str:
        """sha256 over the file's bytes, unpacked."""
        return self._blob.digest

    def _index(self) -> list[tuple[int, int]]:
        at, spans = 0, []
        while at < self._blob.size:
            head = self._blob.read(at, at + _HEAD.size)
            if len(head) == _HEAD.size:
                size, crc = _HEAD.unpack(head)
                if crc != masked_crc32c(head[:8]):
                    raise UserError(
                        f"{self.path}: no TFRecord file, or damaged: the header of "
                        f"record {len(spans)} at byte {at} fails its checksum. Make "
                        "it again."
                    )
            else:
                # Cut off within the header: such a length ends behind the file, see
                # below.
                size = self._blob.size
            stop = at + _HEAD.size + size
            if stop + _TAIL.size > self._blob.size:
                raise UserError(
                    f"{self.path}: is cut off in record {len(spans)}: it ends at byte "
                    f"{self._blob.size}. Copy or download it again."
                )
            spans.append((at + _HEAD.size, stop))
            at = stop + _TAIL.size
        return spans
