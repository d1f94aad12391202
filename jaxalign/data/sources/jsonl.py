"""JSON lines: one object a line, found by byte offset."""

import hashlib
import re
from typing import Any

import numpy as np

from jaxalign.data.sources import files, strict_json
from jaxalign.data.sources.blob import Blob
from jaxalign.errors import RowError, UserError

_BOM = b"\xef\xbb\xbf"


class JsonLines:
    """Rows of a `.jsonl` file, also `.gz` and `.zst`; blank lines are no rows.

    A line is parsed when it is asked for. `source[i]` raises `RowError` with file and
    line when it is not strict UTF-8 or not one JSON object. A byte order mark and CRLF
    line ends are tolerated.
    """

    def __init__(self, path: str):
        """Reads the file once to find its lines."""
        self.path = path
        self._blob = Blob(path)
        self._starts, self._stops, self._lines = self._index()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._starts)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`."""
        line = self._blob.read(int(self._starts[i]), int(self._stops[i]))
        last = i in (-1, len(self) - 1)
        return parse_row(line, self.where(i), last=last)

    def where(self, i: int) -> str:
        """File and line of row `i`, as in `pairs.jsonl:812`."""
        return f"{self.path}:{self._lines[i]}"

    def fingerprint(self) -> str:
        """sha256 over the content that the rows were read from, unpacked."""
        return self._blob.digest

    def _index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start, stop and number of each line that is not blank."""
        size, ends, head = 0, [], b""
        for chunk in self._blob.chunks():
            head = head or chunk[:4]
            newlines = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))
            ends.append(newlines + size)
            size += len(chunk)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UserError(
                f"{self.path}: is UTF-16 text; JSON lines are UTF-8. Convert it: "
                f"iconv -f UTF-16 -t UTF-8 {self.path}"
            )
        # The last line may lack its line end.
        ends = np.concatenate([*ends, [size]]).astype(np.int64)
        starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
        if head.startswith(_BOM):
            starts[0] = len(_BOM)
        # Only short lines are looked at; a long blank one fails when it is parsed.
        short = np.flatnonzero(ends - starts <= 16)
        blank = [k for k in short if not self._blob.read(starts[k], ends[k]).strip()]
        keep = np.setdiff1d(np.arange(len(starts)), blank)
        return starts[keep], ends[keep], keep + 1


class JsonArray:
    """Rows of a `.json` file that is one list of objects."""

    def __init__(self, path: str):
        """Parses the whole file."""
        self.path = path
        content = files.read_bytes(path)
        self._digest = hashlib.sha256(content).hexdigest()
        self._rows = parse_json(content.removeprefix(_BOM), path, last=True)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`."""
        return _object(self._rows[i], self.where(i))

    def where(self, i: int) -> str:
        """File and index of row `i`, as in `pairs.json[811]`."""
        return f"{self.path}[{i % len(self)}]"

    def fingerprint(self) -> str:
        """sha256 over the file's bytes."""
        return self._digest


def open_json(path: str) -> "JsonArray | JsonLines":
    """Opens a `.json` file, which may be one list or, as often, JSON lines."""
    head = Blob(path).read(0, 64).removeprefix(_BOM).lstrip()
    return JsonArray(path) if head.startswith(b"[") else JsonLines(path)


def parse_row(line: bytes, where: str, *, last: bool = False) -> dict[str, Any]:
    """The JSON object in one line.

    Args:
      line: UTF-8 text of one JSON object.
      where: file and line, for errors.
      last: whether nothing follows, so that a cut-off file is the likeliest reason.

    Raises:
      RowError: if it is not.

    >>> parse_row(b'{"prompt": "2 + 2"}', "sums.jsonl:1")
    {'prompt': '2 + 2'}
    """
    return _object(parse_json(line, where, last=last), where)


def parse_json(text: bytes, where: str, *, last: bool = False) -> Any:
    """Strict JSON from strict UTF-8.

    Raises:
      RowError: with the byte or column where it stops being so.
    """
    try:
        return strict_json.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RowError(
            where,
            f"byte {error.start + 1} (0x{text[error.start]:02x}) is not UTF-8",
            "Save the file as UTF-8.",
        ) from error
    except RecursionError as error:
        raise RowError(where, "JSON nested too deeply", "Flatten the row.") from error
    except strict_json.TwiceError as error:
        raise RowError(where, str(error), "Remove one of them.") from error
    except ValueError as error:
        # The parser counts lines within the row; `where` has the line of the file.
        what = re.sub(r": line \d+ column", ": column", str(error))
        what = re.sub(r" \(char \d+\)$", "", what)
        fix = "Each line is one JSON object."
        if last:
            fix += " This is the last line: the file may be cut off; copy it again."
        raise RowError(where, f"not valid JSON ({what})", fix) from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise RowError(
        where,
        f"a JSON {_kind(value)}, not an object",
        'Rows look like {"prompt": ...}.',
    )


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean"}
    return "null" if value is None else names.get(type(value), "number")
