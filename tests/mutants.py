"""Files that are not what they should be: small changes to good ones."""

import contextlib
import json
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from jaxalign.errors import UserError

# Values that no key of a model folder's files can mean, and some that a few can.
WRONG_VALUES: tuple[Any, ...] = (
    None, True, "", "two", "\x00", -1, 0, 2, 10**9, 10**400, 1e300, 1.5, float("nan"),
    float("inf"), [], [None], [[]], ["x"], [{}], [2, "x"], {}, {"a": 1}, {"content": 5},
)  # fmt: skip

WRONG_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "half an object": b"{",
    "a list": b"[]",
    "null": b"null",
    "a number": b"5",
    "a text": b'"x"',
    "a list of the object": b"[{}]",
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "deep and whole": b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a number of many digits": b'{"a": ' + b"9" * 10_000 + b"}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "zeros": bytes(100),
    "a cut escape": b'{"a": "\\ud8',
    "half a character": b'{"eos_token": "\\ud800", "model_type": "\\udfff"}',
    "JavaScript": b"{'a': 1,}",
    "a page": b"<!DOCTYPE html><html><body>404</body></html>",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
}


def changed(data: Any, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """`(what was changed, a copy)` of JSON data, each time with one wrong value."""
    if isinstance(data, dict) and depth:
        for key, value in data.items():
            for wrong in WRONG_VALUES:
                yield f"{key} = {str(wrong)[:20]}", {**data, key: wrong}
            yield f"{key} left out", {k: v for k, v in data.items() if k != key}
            for what, inner in changed(value, depth - 1):
                yield f"{key}.{what}", {**data, key: inner}
    elif isinstance(data, list) and depth:
        for i, value in enumerate(data[:2]):
            for what, inner in changed(value, depth - 1):
                yield f"{i}.{what}", [*data[:i], inner, *data[i + 1 :]]


def as_json(data: Any) -> bytes:
    return json.dumps(data).encode()


def with_header(data: bytes, header: Any, *, length: int | None = None) -> bytes:
    """A safetensors file with another header, and its length or a wrong one."""
    size = struct.unpack("<Q", data[:8])[0]
    new = header if isinstance(header, bytes) else as_json(header)
    return (
        struct.pack("<Q", len(new) if length is None else length)
        + new
        + data[8 + size :]
    )


def header_of(data: bytes) -> dict[str, Any]:
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size])


def is_one_paragraph(text: str) -> bool:
    """What a user reads: no trace, no second paragraph, not endless, and it ends."""
    short = len(text) < 1500 and "\n" not in text.strip()
    return short and "Traceback" not in text and text.rstrip().endswith((".", "`"))


@contextlib.contextmanager
def refused_in_a_sentence(what: str) -> Iterator[None]:
    """The body may succeed; if it fails, then in one paragraph."""
    said = None
    try:
        yield
    except UserError as error:
        said = str(error)
    except BaseException as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")
    assert said is None or is_one_paragraph(said), (what, said)
