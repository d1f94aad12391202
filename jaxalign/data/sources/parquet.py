"""Parquet and Arrow files, through the optional package pyarrow."""

import functools
import json
import os
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxalign.data.sources import files
from jaxalign.errors import UserError

# The size is looked at between batches, so this much unpacks unseen.
_BATCH = 1 << 14  # rows
IN_MEMORY = 1 << 30
"""Bytes of row groups that are kept in memory; the oldest go first."""


class Parquet:
    """Rows of a `.parquet` file; row groups are read when they are first needed."""

    def __init__(self, path: str):
        """Reads the file's footer."""
        self.path = path
        pyarrow = _pyarrow(path)
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._stamp, self._digest = files.stamp(path), files.digest([path])
        try:
            meta = self._file(pyarrow).metadata
        except (pyarrow.lib.ArrowException, OSError) as error:
            raise _damaged(path, error) from error
        sizes = [meta.row_group(g).num_rows for g in range(meta.num_row_groups)]
        self._ends = np.cumsum([0, *sizes])

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`."""
        i = _index(i, len(self))
        group = int(np.searchsorted(self._ends, i, side="right")) - 1
        return _row(self._group(group), i - int(self._ends[group]))

    def where(self, i: int) -> str:
        """File and index of row `i`, as in `pairs.parquet[811]`."""
        return f"{self.path}[{_index(i, len(self))}]"

    def fingerprint(self) -> str:
        """sha256 over the file's bytes."""
        return self._digest

    def _file(self, pyarrow: Any) -> Any:
        import pyarrow.parquet

        source = self.path
        if files.is_remote(self.path):
            source = pyarrow.BufferReader(files.read_bytes(self.path))
        return pyarrow.parquet.ParquetFile(source)

    def _group(self, group: int) -> Any:
        if group not in self._cache:
            pyarrow = _pyarrow(self.path)
            files.check_unchanged(self.path, self._stamp)
            try:
                with self._file(pyarrow) as file:
                    batches = file.iter_batches(_BATCH, [group])
                    table = _table(pyarrow, self.path, file.schema_arrow, batches)
                    # A row is cut out of one chunk faster than out of many.
                    table = table.combine_chunks()
            except (pyarrow.lib.ArrowException, OSError) as error:
                raise _damaged(self.path, error) from error
            self._cache[group] = table
            # The group that is asked for stays, however large it is.
            while len(self._cache) > 1 and self._held() > IN_MEMORY:
                self._cache.popitem(last=False)
        return self._cache[group]

    def _held(self) -> int:
        return sum(table.nbytes for table in self._cache.values())


class Arrow:
    """Rows of an `.arrow` file (stream or file format), mapped into memory."""

    def __init__(self, path: str):
        """Maps the file."""
        self.path = path
        pyarrow = _pyarrow(path)
        self._digest = files.digest([path])
        try:
            self._table = _arrow_table(pyarrow, path)
        except (pyarrow.lib.ArrowException, OSError) as error:
            raise _damaged(path, error) from error

    def __len__(self) -> int:
        """Number of rows."""
        return self._table.num_rows

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`."""
        return _row(self._table, _index(i, len(self)))

    def where(self, i: int) -> str:
        """File and index of row `i`."""
        return f"{self.path}[{_index(i, len(self))}]"

    def fingerprint(self) -> str:
        """sha256 over the file's bytes."""
        return self._digest


def _pyarrow(path: str) -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise UserError(
            f"{path}: reading Parquet and Arrow files needs pyarrow. "
            "pip install jaxalign[parquet]"
        ) from error
    return pyarrow


def _arrow_table(pyarrow: Any, path: str) -> Any:
    import pyarrow.ipc

    if files.is_remote(path):
        source = pyarrow.BufferReader(files.read_bytes(path))
    else:
        source = pyarrow.memory_map(path)
    # Both formats have one file ending, and only one of them a magic number.
    is_file = source.read(6) == b"ARROW1"
    source.seek(0)
    if is_file:
        opened = pyarrow.ipc.open_file(source)
        batches = map(opened.get_batch, range(opened.num_record_batches))
    else:
        batches = opened = pyarrow.ipc.open_stream(source)
    return _table(pyarrow, path, opened.schema, batches)


def _table(pyarrow: Any, path: str, schema: Any, batches: Iterable[Any]) -> Any:
    """The batches as one table, unless they unpack beyond all measure."""
    kept, size = [], 0
    packed = None if files.is_remote(path) else os.path.getsize(path)
    for batch in batches:
        size += batch.nbytes
        if packed is not None:
            files.check_ratio(path, size, packed)
        kept.append(batch)
    return pyarrow.Table.from_batches(kept, schema)


def _row(table: Any, i: int) -> dict[str, Any]:
    row = table.slice(i, 1).to_pylist()[0]
    for name, kind in _json_columns(table.schema):
        row[name] = _from_json(row[name], kind)
    return row


# Types are walked once per file, not once per row.
@functools.lru_cache
def _json_columns(schema: Any) -> list[tuple[str, Any]]:
    """Names and types of the columns that have JSON in them."""
    return [(field.name, field.type) for field in schema if _holds_json(field.type)]


def _holds_json(kind: Any) -> bool:
    """Whether an Arrow type has JSON in it, as `datasets` stores objects."""
    if getattr(kind, "extension_name", "") == "arrow.json":
        return True
    fields = [kind.field(i) for i in range(kind.num_fields)]
    return any(_holds_json(field.type) for field in fields)


def _from_json(value: Any, kind: Any) -> Any:
    """The value with objects in place of JSON text."""
    if value is None or not _holds_json(kind):
        return value
    if isinstance(value, str):
        return json.loads(value)
    if isinstance(value, list):
        return [_from_json(v, kind.value_type) for v in value]
    return {k: _from_json(v, kind.field(k).type) for k, v in value.items()}


def _index(i: int, length: int) -> int:
    if not -length <= i < length:
        raise IndexError(f"row {i} of {length}")
    return int(i) % length


def _damaged(path: str, error: Exception) -> UserError:
    return UserError(
        f"{path}: cannot be read; it may be cut off ({error}). "
        "Copy or download it again."
    )
