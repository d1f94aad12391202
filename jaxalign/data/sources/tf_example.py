"""Records of ArrayRecord and TFRecord files: JSON objects, or `tf.train.Example`."""

import struct
from collections.abc import Iterator
from typing import Any

from jaxalign.data.sources.jsonl import parse_row
from jaxalign.errors import RowError

_MALFORMED = (
    IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error
)  # fmt: skip
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def decode_payload(payload: bytes, where: str) -> dict[str, Any]:
    """The row in one binary record.

    Args:
      payload: UTF-8 text of a JSON object, or a serialised `tf.train.Example`. There a
        feature with one value is that value, with several a list, with none absent;
        bytes are UTF-8 text.
      where: file and index, for errors.

    Raises:
      RowError: if it is neither.

    >>> decode_payload(b'{"text": "hi"}', "a.array_record[0]")
    {'text': 'hi'}
    """
    braced = payload.lstrip()[:1] == b"{"
    # An Example begins with 0x0a, a line feed to JSON, and its length may be 0x7b, a
    # brace: of such a payload both readings are tried.
    if braced and payload[:1] != b"\n":
        return parse_row(payload, where)
    try:
        return _example(payload)
    except _MALFORMED as error:
        if braced:
            return parse_row(payload, where)
        raise RowError(
            where,
            f"{len(payload)} bytes that are neither a JSON object nor a "
            f"tf.train.Example ({error})",
            "Write the rows as JSON, one object a record.",
        ) from error


def _example(data: bytes) -> dict[str, Any]:
    row = {}
    for number, features in _fields(data):
        if number != 1:
            raise ValueError(f"unknown field {number}")
        for _, entry in _fields(features):
            # An entry of a map has its key in field 1 and its value in field 2.
            parts = dict(_fields(entry))
            name, feature = parts[1].decode(), parts.get(2, b"")
            values = [v for kind, body in _fields(feature) for v in _values(kind, body)]
            if values:
                row[name] = values[0] if len(values) == 1 else values
    if not row:
        raise ValueError("no features")
    return row


def _values(kind: int, body: bytes) -> Iterator[Any]:
    """Values of a BytesList (1), FloatList (2) or Int64List (3)."""
    for _, value in _fields(body):
        if kind == 1:
            yield value.decode("utf-8")
        elif kind == 2:
            yield from struct.unpack(f"<{len(value) // 4}f", value)
        # Integers come one by one as numbers, or packed as bytes.
        elif isinstance(value, int):
            yield _signed(value)
        else:
            at = 0
            while at < len(value):
                number, at = _varint(value, at)
                yield _signed(number)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protocol buffer message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {kind} at byte {at}")
        if at + size > len(data):
            raise ValueError(f"a field of {size} bytes at byte {at} is cut off")
        yield tag >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
        # 64 bits take ten bytes of seven each.
        if shift > 63:
            raise ValueError(f"a number at byte {at} has no end")


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
