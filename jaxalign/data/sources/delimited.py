"""CSV and TSV files: one row a record, the first line names the columns."""

import csv
import hashlib
import io
import itertools
import re
from collections.abc import Iterator
from typing import Any

from jaxalign.data.sources import files
from jaxalign.errors import RowError, UserError

_DELIMITERS = (",", ";", "\t", "|")
_TRIED = 20  # rows that a delimiter is judged by
_SAID = re.compile(r"sep=(.)\r?\n")  # the first line of some spreadsheets' files


class Delimited:
    r"""Rows of a `.csv` or `.tsv` file, also `.gz` and `.zst`.

    Every cell is text, as it stands: `007` and `4.0` are no numbers here, because a
    prompt or an answer may look like one. Whoever needs a number or a list reads it
    from the text (`records`). An empty cell is no value (None). Quotes, and line ends
    and delimiters within quotes, are those of RFC 4180; a byte order mark is tolerated.
    A `.tsv` file is split at tabs, another one at whichever of `,`, `;`, tab and `|`
    gives most columns and as many in each of its first rows.
    """

    def __init__(self, path: str):
        """Parses the whole file."""
        self.path = path
        content = files.read_bytes(path)
        self._digest = hashlib.sha256(content).hexdigest()
        text = _decoded(content, path)
        name = path.lower().removesuffix(".gz").removesuffix(".zst")
        said = _SAID.match(text)
        delimiter = said[1] if said else "\t"
        if not said and not name.endswith(".tsv"):
            delimiter = _delimiter(text)
        rows = _parsed(text, delimiter, path)
        if said:
            # The line with `sep=` is a row for the parser, too.
            next(rows)
        _, header = next(rows, (0, []))
        self._names = _columns(header, path)
        self._rows = list(rows)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`; `RowError` if its cells are not those of the header."""
        cells = self._rows[i][1]
        if len(cells) != len(self._names):
            last = " The file may be cut off." if i in (-1, len(self) - 1) else ""
            raise RowError(
                self.where(i),
                f"{len(cells)} cells, and the header has {len(self._names)}",
                f"Put quotes around cells that hold a delimiter or a line end.{last}",
            )
        return {k: v or None for k, v in zip(self._names, cells, strict=True)}

    def where(self, i: int) -> str:
        """File and line where row `i` begins, as in `pairs.csv:812`."""
        return f"{self.path}:{self._rows[i][0]}"

    def fingerprint(self) -> str:
        """sha256 over the content, unpacked."""
        return self._digest


def _decoded(content: bytes, path: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(
            f"{path}: is UTF-16 text, as spreadsheets save it. Save it as CSV UTF-8, "
            f"or convert it: iconv -f UTF-16 -t UTF-8 {path}"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: byte 0x{content[error.start]:02x} is not UTF-8. Save the "
            "file as UTF-8."
        ) from error


def _parsed(text: str, delimiter: str, path: str) -> Iterator[tuple[int, list[str]]]:
    """The line at which each record begins, and its cells; blank lines are none."""
    # The module's limit guards against damage; here whole documents are cells.
    before = csv.field_size_limit(len(text) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            # A cell may hold line ends: the next record begins behind all lines read so
            # far.
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}:{line}: the file is cut off or damaged, or a quote is not closed "
            f"({error}). Within quotes a quote is written twice."
        ) from error
    finally:
        # The limit is the module's, and others in this process read CSV as well.
        csv.field_size_limit(before)


def _delimiter(text: str) -> str:
    """What splits the first rows into most cells, and into as many each."""
    best, most = ",", 1
    for delimiter in _DELIMITERS:
        try:
            rows = itertools.islice(_parsed(text, delimiter, ""), _TRIED)
            counts = {len(cells) for _, cells in rows}
        # Split at the wrong character, quotes may stand where they must not.
        except UserError:
            continue
        if len(counts) == 1 and max(counts) > most:
            best, most = delimiter, max(counts)
    return best


def _columns(header: list[str], path: str) -> list[str]:
    # Tables with an index, as pandas writes them, have no name above it.
    names = [name.strip() or f"column_{i + 1}" for i, name in enumerate(header)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{path}: two columns are called `{twice}`. Rename one of them."
        )
    if not names:
        raise UserError(f"{path}: holds 0 rows and no header; it may be cut off.")
    return names
