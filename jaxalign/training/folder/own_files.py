"""Files that a run writes, each whole or not there, whatever is in its place.

What lies under the name of such a file and is no file (a folder, a pipe, a loop of
links) is renamed, with a warning.
"""

import errno
import json
import logging
import math
import os
import pathlib
import shutil
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from jaxalign import plain_files
from jaxalign.os_errors import naming

_LOG = logging.getLogger("jaxalign")


def set_aside(path: pathlib.Path, reason: str) -> pathlib.Path:
    """Renames what is in the way to `NAME.set-aside`, in place of an earlier one.

    Args:
      path: A file, a folder or anything else.
      reason: For the warning.

    Returns:
      What it is called now.
    """
    aside = path.with_name(path.name + ".set-aside")
    remove(aside)
    path.rename(aside)
    _LOG.warning("%s is now called %s: %s", path, aside.name, reason)
    return aside


def remove(path: pathlib.Path) -> None:
    """Removes whatever it is, if it is there; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(path: pathlib.Path) -> pathlib.Path:
    """Makes a folder if it is not there; a link to one is as good."""
    if os.path.lexists(path) and not path.is_dir():
        set_aside(path, "a folder belongs there")
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes a text as `write_bytes` does.

    Halves of surrogate pairs, which no encoding has, are written as in JSON.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file that is never seen half-written, also after a power cut."""
    make_folder(path.parent)
    _clear(path)
    temporary = path.with_name(path.name + ".tmp")
    _clear(temporary)
    with naming(path), temporary.open("wb") as file:
        file.write(content)
        # On disk before the rename: else a power cut leaves an empty file of that name.
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file as `write_text` does."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_json_lines(path: pathlib.Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line, as `write_text` does.

    Raises:
      ValueError: A number is not finite, which JSON does not know; see `finite`.
    """
    rows = (json.dumps(x, ensure_ascii=False, allow_nan=False) for x in lines)
    write_text(path, "".join(f"{row}\n" for row in rows))


def finite(x: Any) -> float | None:
    """A number as JSON knows it: null for NaN and infinities.

    >>> finite(0.5), finite(float("nan"))
    (0.5, None)
    """
    return float(x) if math.isfinite(x) else None


def append_line(path: pathlib.Path, line: Mapping[str, Any]) -> None:
    """Appends one JSON object, making the file or its folder again if they are gone."""
    make_folder(path.parent)
    _clear(path)
    raw = (json.dumps(line, allow_nan=False) + "\n").encode()
    # O_NONBLOCK: should it become a pipe now, nobody waits for a reader.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    with naming(path), os.fdopen(os.open(path, flags, 0o666), "ab") as file:
        file.write(raw)


def _clear(path: pathlib.Path) -> None:
    """Sets aside what is no file; a link to a file stays."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink() and not (path.parent / path.readlink()).parent.is_dir():
            set_aside(path, "it is a symbolic link to nothing")
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        set_aside(path, "it is a loop of symbolic links")
    else:
        if not stat.S_ISREG(mode):
            set_aside(path, f"it is {plain_files.file_kind(mode)}, and no file")
