"""Rows by index, from whatever `--data` names."""

import glob
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from jaxalign.data.sources import files
from jaxalign.data.sources.delimited import Delimited
from jaxalign.data.sources.jsonl import JsonLines, open_json
from jaxalign.data.sources.kinds import kind_of
from jaxalign.errors import UserError


class Source(Protocol):
    """Rows with random access. The same rows give the same dicts in every container."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`; `RowError` if it cannot be read."""
        ...

    def where(self, i: int) -> str:
        """Where row `i` stands, for messages: `pairs.jsonl:812`."""
        ...

    def fingerprint(self) -> str:
        """A digest of the content: different rows, different fingerprint."""
        ...


class Concatenated:
    """Several sources, one after the other."""

    def __init__(self, parts: Sequence[Source]):
        """Takes the parts in order."""
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        """Number of rows in all."""
        return int(self._ends[-1])

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`."""
        part, k = self._locate(i)
        return part[k]

    def where(self, i: int) -> str:
        """Where row `i` stands in its own file."""
        part, k = self._locate(i)
        return part.where(k)

    def fingerprint(self) -> str:
        """Digest over the parts' fingerprints, in order."""
        return _digest("concatenated", *(part.fingerprint() for part in self.parts))

    def _locate(self, i: int) -> tuple[Source, int]:
        i = _checked(i, len(self))
        # From the right: an index that equals an end is the next part's first row.
        p = int(np.searchsorted(self._ends, i, side="right"))
        return self.parts[p], i - (int(self._ends[p - 1]) if p else 0)


class Weighted:
    """Several sources mixed in given proportions, evenly interleaved.

    One pass shows every row of every part at least once: it is as long as the part that
    is largest for its weight needs, and the others repeat from their start.
    """

    def __init__(self, parts: Sequence[Source], weights: Sequence[float]):
        """Takes the parts and their weights, which need not add up to 1."""
        self.parts = tuple(parts)
        self.weights = tuple(w / sum(weights) for w in weights)
        sizes = np.array([len(part) for part in self.parts])
        # So many rows that each part, at its share of them, is shown whole.
        length = np.max(sizes / np.array(self.weights))
        # Less a rounding error, which would make one more row; never fewer than all
        # rows.
        counts = np.maximum(np.ceil(length * np.array(self.weights) - 1e-6), sizes)
        counts = counts.astype(np.int64)
        # Row k of n from a part belongs at the fraction (k + 1/2) / n of the pass.
        due = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
        # Stable: rows that are due at once come in the order of the parts.
        order = np.argsort(due, kind="stable")
        self._part = np.repeat(np.arange(len(counts)), counts)[order].astype(np.int32)
        rows = [
            np.arange(n) % max(size, 1) for n, size in zip(counts, sizes, strict=True)
        ]
        self._row = np.concatenate(rows)[order]

    def __len__(self) -> int:
        """Number of rows in one pass, repeated ones included."""
        return len(self._row)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i` of the mixture."""
        i = _checked(i, len(self))
        return self.parts[self._part[i]][int(self._row[i])]

    def where(self, i: int) -> str:
        """Where row `i` stands in its own file."""
        i = _checked(i, len(self))
        return self.parts[self._part[i]].where(int(self._row[i]))

    def fingerprint(self) -> str:
        """Digest over weights and the parts' fingerprints."""
        prints = (part.fingerprint() for part in self.parts)
        return _digest("weighted", *map(repr, self.weights), *prints)


def open_source(spec: str) -> Source:
    """Opens what `--data` names.

    Args:
      spec: one of
        a file (`pairs.jsonl`, also `.gz` and `.zst`; `.json`, `.csv`, `.tsv`,
        `.parquet`, `.arrow`, `.array_record`, `.tfrecord`), local or behind `gs://`;
        a glob (`data/*.jsonl`: files in the order of their names);
        a folder of such files, a saved Hugging Face dataset or a prepared TFDS dataset,
        with `:SPLIT` behind it when it holds several splits;
        `tfds:NAME:SPLIT` or `tfds:NAME/CONFIG:SPLIT`, where the split may be a slice
        (`train[10%:20%]`);
        `hf:OWNER/NAME:SPLIT` or `hf:OWNER/NAME/CONFIG:SPLIT`, a data set of the
        Hugging Face Hub (`OWNER/NAME` is one too where no such folder exists);
        a list with commas between; with weights, `a.jsonl:0.7,b.jsonl:0.3`.

    Returns:
      A source. Rows are parsed when they are asked for.

    Raises:
      UserError: if something is not there, cannot be read, or holds no row.
    """
    # A path that exists may hold commas.
    parts = [spec] if os.path.exists(spec) else _split_list(spec)
    weights, sources = [], []
    for part in parts:
        name, weight = _split_weight(part)
        weights.append(weight)
        sources.append(_open_one(name))
        if len(sources[-1]) == 0:
            raise UserError(f"{name}: holds 0 rows; at least 1 is needed. Check it.")
    if any(w is not None for w in weights):
        if None in weights:
            raise UserError(
                f"--data {spec}: `{parts[weights.index(None)]}` has no weight while "
                "others have. Give each a weight (a.jsonl:0.7,b.jsonl:0.3) or none."
            )
        source: Source = Weighted(sources, weights) if len(sources) > 1 else sources[0]
    else:
        source = sources[0] if len(sources) == 1 else Concatenated(sources)
    return source


def _split_list(spec: str) -> list[str]:
    """Splits at commas outside brackets: `tfds:x:train[:5],b` has two parts."""
    parts = re.split(r",(?![^\[]*\])", spec)
    if not all(part.strip() for part in parts):
        raise UserError(f"--data {spec!r}: an empty name. Remove the stray comma.")
    return [part.strip() for part in parts]


def _split_weight(part: str) -> tuple[str, float | None]:
    match = re.fullmatch(r"(.+):(\d*\.?\d+(?:[eE][-+]?\d+)?)", part)
    # A path that exists may end in a colon and a number.
    if os.path.exists(part) or not match:
        return part, None
    weight = float(match[2])
    if not 0 < weight < float("inf"):
        raise UserError(f"--data {part}: weight {match[2]} is not positive. Raise it.")
    return match[1], weight


def _open_one(name: str) -> Source:
    if name.startswith("tfds:"):
        from jaxalign.data.sources import tfds_source

        return tfds_source.open_tfds(name)
    if name.startswith("hf:"):
        from jaxalign.data.sources import hub_dataset

        return hub_dataset.open_hub(name)
    folder, split = _split_folder(name)
    if os.path.isdir(folder):
        from jaxalign.data.sources import folders

        return folders.open_folder(folder, split, open_files)
    # Only what cannot be a file here is taken for a name on the Hub.
    if kind_of(name) is None and not files.is_remote(name) and not glob.glob(name):
        from jaxalign.data.sources import hub_dataset

        if hub_dataset.looks_like_a_name(name):
            return hub_dataset.open_hub(name)
    return open_files(files.expand(name))


def _split_folder(name: str) -> tuple[str, str | None]:
    """`FOLDER:SPLIT` in its parts, where the split may be a slice with a colon."""
    for colon in re.finditer(":(?=[A-Za-z_])", name):
        if os.path.isdir(name[: colon.start()]) and not os.path.exists(name):
            return name[: colon.start()], name[colon.end() :]
    return name, None


def open_files(paths: Sequence[str]) -> Source:
    """The files one after the other, each by its kind."""
    sources = [_opener(path)(path) for path in paths]
    return sources[0] if len(sources) == 1 else Concatenated(sources)


def _opener(path: str) -> Callable[[str], Source]:
    kind = kind_of(path)
    if kind == "jsonl":
        return JsonLines
    if kind == "json":
        return open_json
    if kind == "csv":
        return Delimited
    if kind in ("parquet", "arrow"):
        from jaxalign.data.sources import parquet

        return parquet.Parquet if kind == "parquet" else parquet.Arrow
    if kind == "array_record":
        from jaxalign.data.sources.array_record import ArrayRecord

        return ArrayRecord
    if kind == "tfrecord":
        from jaxalign.data.sources.tfrecord import TFRecord

        return TFRecord
    why = ""
    if re.search(r"\.(pkl|pickle|pt|pth|bin|npz|npy|joblib)$", path.lower()):
        why = " Files that can run code when they are read are never opened."
    raise UserError(
        f"{path}: not a known kind of data file.{why} Known are .jsonl (.gz, .zst), "
        ".json, .csv, .tsv, .parquet, .arrow, .array_record and .tfrecord."
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _checked(i: int, length: int) -> int:
    if not -length <= i < length:
        raise IndexError(f"row {i} of {length}")
    return int(i) % length
