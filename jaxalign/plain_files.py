"""Files that others wrote, read only if they are plain files and not too large.

Whatever lies under a name is looked at before it is read: opening a named pipe waits
for ever, and reading a device never ends.
"""

import io
import json
import os
import stat
from typing import Any

MOST = 64 << 20
"""Bytes of a text that is read whole."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnreadableError(ValueError):
    """Something that is not the file it should be; the text says what it is."""


def open_plain(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Opens a file for reading, if it is one.

    Raises:
      FileNotFoundError: There is nothing of that name.
      UnreadableError: It is something else, or cannot be opened.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe waits for somebody to write.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if os.path.islink(path):
            raise UnreadableError("it is a symbolic link to nothing") from None
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableError(f"it cannot be opened ({reason})") from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise UnreadableError(f"it is {file_kind(mode)}, and a file is needed")
    return io.BufferedReader(io.FileIO(handle, "rb"))


def file_kind(mode: int) -> str:
    """What a file's `st_mode` says that it is, in words.

    >>> file_kind(os.stat("/dev/null").st_mode)
    'a device'
    """
    return _KINDS.get(stat.S_IFMT(mode), "a file")


def read_plain(path: str | os.PathLike[str], most: int | None = MOST) -> bytes:
    """The bytes of a file of at most `most` bytes.

    Raises:
      FileNotFoundError: There is nothing of that name.
      UnreadableError: It is something else, larger, or cannot be read.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise UnreadableError(f"it has {size:,} bytes, and {most:,} are the most")
        try:
            # A file of /proc says that it has 0 bytes.
            raw = file.read() if most is None else file.read(most + 1)
        except OSError as error:
            raise UnreadableError(f"it cannot be read ({error.strerror})") from error
    if most is not None and len(raw) > most:
        raise UnreadableError(f"it has more than {most:,} bytes")
    return raw


def read_object(path: str | os.PathLike[str], most: int = MOST) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
      FileNotFoundError: There is nothing of that name.
      UnreadableError: It holds anything else.
    """
    return parse_object(read_plain(path, most))


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in bytes.

    Raises:
      UnreadableError: They hold anything else.

    >>> parse_object(b'{"step": 1}')
    {'step': 1}
    """
    try:
        value = json.loads(raw)
    except RecursionError:
        raise UnreadableError("it is nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(f"it is not valid JSON ({error})") from None
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(value))
        raise UnreadableError(f"it holds {kind or 'a number'}, no object")
    return value


def is_inside(name: Any) -> bool:
    """Whether a name that a file gives leads to below the file's own folder.

    >>> is_inside("arrays/d/0"), is_inside("../x"), is_inside("/etc/passwd")
    (True, False, False)
    """
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    parts = name.replace("\\", "/").split("/")
    return not name.startswith(("/", "~")) and ".." not in parts
