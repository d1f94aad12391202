"""Whole files as bytes: local or behind a URL, plain or compressed."""

import glob
import gzip
import hashlib
import io
import os
import re
import time
import zlib
from typing import Any

from jaxalign.errors import UserError
from jaxalign.plain_files import UnreadableError, open_plain

# Compressed files are unpacked whole, because nobody can seek in them.
MAX_UNPACKED = 4 << 30
"""Bytes to which a compressed file may unpack in memory."""
MAX_RATIO = 200
"""Bytes that a byte may unpack to; text that people write has ratios of 3 to 20."""
# A small file of one repeated row may well have a larger ratio.
ALWAYS_FINE = 256 << 20
"""Bytes up to which the ratio is not looked at."""

_READ = 1 << 20
# So little of Zstandard at a time can unpack to 128 MB, and of gzip to 4.
_PIECE = 4 << 10
# With waits of 1 s and 2 s between: a hiccup passes, and a fault is told soon.
_ATTEMPTS = 3


def is_remote(path: str) -> bool:
    """Whether `path` is a URL such as `gs://bucket/file`.

    >>> is_remote("gs://bucket/a.jsonl"), is_remote("data/a.jsonl")
    (True, False)
    """
    # Two letters at least, because `C:` is a drive.
    return re.match(r"[a-z0-9+]{2,}://", path) is not None


def expand(pattern: str) -> list[str]:
    """Paths that `pattern` names, sorted; the pattern itself if such a file exists.

    Raises:
      UserError: if nothing matches.
    """
    if is_remote(pattern):
        system, inner = _filesystem(pattern)
        found = [inner] if system.exists(inner) else system.glob(inner)
        paths = [system.unstrip_protocol(path) for path in sorted(found)]
    # A file of that very name comes first: names may hold brackets.
    elif os.path.exists(pattern):
        return [pattern]
    else:
        # glob gives the order of the file system, which differs between machines.
        paths = sorted(glob.glob(pattern, recursive=True))
    if not paths:
        raise UserError(
            f"{pattern}: no such file, folder or pattern (seen from {os.getcwd()}). "
            "Give --data an existing path, a quoted glob, tfds:NAME:SPLIT or "
            "hf:OWNER/NAME:SPLIT."
        )
    return paths


def read_bytes(path: str) -> bytes:
    """The content of `path`, unpacked if its name ends in `.gz` or `.zst`.

    Raises:
      UserError: if the file cannot be read, is cut off, or unpacks to more than
        `MAX_UNPACKED` bytes; the message names it.
    """
    raw = _fetch(path) if is_remote(path) else _read_local(path)
    if path.endswith(".gz"):
        return _unpack(path, gzip.GzipFile(fileobj=io.BytesIO(raw)), len(raw))
    if path.endswith(".zst"):
        return _unpack(path, _zstd_reader(path, raw), len(raw))
    return raw


def digest(paths: list[str]) -> str:
    """sha256 over the contents of the files, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        if is_remote(path):
            total.update(hashlib.sha256(_fetch(path)).digest())
            continue
        with open_local(path) as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def stamp(path: str) -> tuple[int, ...]:
    """What changes when a local file does: size, time and inode."""
    if is_remote(path):
        return ()
    status = os.stat(path)
    # The inode tells a file that was replaced by one of the same size and time.
    return status.st_size, status.st_mtime_ns, status.st_ino


def check_unchanged(path: str, before: tuple[int, ...]) -> None:
    """Raises `UserError` if the file's stamp is not the one taken before."""
    if stamp(path) != before:
        raise UserError(
            f"{path}: changed since it was opened. Data must stay as it is during a "
            "run: start again, or put the old file back."
        )


def open_local(path: str) -> io.BufferedReader:
    """Opens a file on disk for reading.

    Raises:
      UserError: It is not there, or is a pipe or a device, which cannot be read twice.
    """
    try:
        return open_plain(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file. Check the path.") from error
    except UnreadableError as error:
        raise UserError(
            f"{path}: {error}. Give a file; what comes out of a pipe can be written to "
            "one first."
        ) from error


def check_unpacked(path: str, size: int, packed: int) -> None:
    """Raises `UserError` if what was unpacked into memory so far is too much."""
    if size > MAX_UNPACKED:
        raise UserError(
            f"{path}: unpacks to more than {MAX_UNPACKED >> 30} GiB, too much to hold "
            "in memory. Unpack it once and give the plain file."
        )
    check_ratio(path, size, packed)


def check_ratio(path: str, size: int, packed: int) -> None:
    """Raises `UserError` if `packed` bytes cannot honestly unpack to `size`."""
    if size > max(ALWAYS_FINE, MAX_RATIO * packed):
        raise UserError(
            f"{path}: its {packed:,} bytes unpack to more than {size - 1:,}, as no "
            "data set does. If it is what you mean, unpack it once and give the plain "
            "file."
        )


def _read_local(path: str) -> bytes:
    try:
        with open_local(path) as file:
            return file.read()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}). Check path and permissions."
        ) from error


def _unpack(path: str, stream: Any, packed: int) -> bytes:
    parts, size = [], 0
    try:
        while part := stream.read(_READ):
            size += len(part)
            check_unpacked(path, size, packed)
            parts.append(part)
    except UserError:
        raise
    except Exception as error:
        # The package is optional, so its error is known by its module's name only.
        if not isinstance(error, (OSError, EOFError, zlib.error)) and not (
            type(error).__module__.startswith("zstandard")
        ):
            raise
        raise UserError(
            f"{path}: the compressed file is cut off or damaged after {size} unpacked "
            f"bytes ({error}). Copy or download it again."
        ) from error
    return b"".join(parts)


def _zstd_reader(path: str, raw: bytes) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise UserError(
            f"{path}: reading .zst needs zstandard. pip install jaxalign[zstd]"
        ) from error
    return _WholeFrames(zstandard, raw)


class _WholeFrames:
    """Zstandard frames one after another; a frame cut off at the end is an error."""

    def __init__(self, zstandard: Any, raw: bytes):
        self._decompressor, self._raw = zstandard.ZstdDecompressor(), raw
        self._frame, self._at = None, 0

    def read(self, size: int) -> bytes:
        size = min(size, _PIECE)
        while self._at < len(self._raw):
            self._frame = self._frame or self._decompressor.decompressobj()
            part = self._raw[self._at : self._at + size]
            out = self._frame.decompress(part)
            # A decompressor ends with its frame; what it left unread begins the next
            # one.
            self._at += len(part) - len(self._frame.unused_data)
            if self._frame.eof:
                self._frame = None
            if out:
                return out
        if self._frame is not None or not self._raw:
            raise EOFError("the last frame has no end")
        return b""


def _filesystem(url: str) -> tuple[Any, str]:
    scheme = url.split("://")[0]
    try:
        import fsspec

        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = (
            "gcsfs" if scheme in ("gs", "gcs") else f"fsspec with {scheme} support"
        )
        raise UserError(
            f"{url}: reading {scheme}:// needs a package that is not installed "
            f"({error}). pip install {package}, or copy the file here."
        ) from error
    except ValueError as error:
        raise UserError(
            f"{url}: unknown kind of address ({error}). Use gs:// or a local path."
        ) from error


def _fetch(url: str) -> bytes:
    system, inner = _filesystem(url)
    for attempt in range(_ATTEMPTS):
        try:
            return system.cat_file(inner)
        # Before OSError, which it is, too: a wrong address is not asked for again.
        except FileNotFoundError as error:
            raise UserError(f"{url}: no such file. Check the address.") from error
        except OSError as error:
            if attempt == _ATTEMPTS - 1:
                raise UserError(
                    f"{url}: reading failed {_ATTEMPTS} times ({error}). "
                    "Check network and permissions, or copy the file here."
                ) from error
            time.sleep(2.0**attempt)
    raise AssertionError("unreachable")
