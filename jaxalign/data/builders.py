"""TFDS datasets made from files: prepared once, then read by anything that reads TFDS.

    prepare_tfds("my_pairs", "pairs.jsonl", "data")   # data/my_pairs/1.0.0
    jaxalign dpo --data data/my_pairs:train           # or tfds:my_pairs:train

Rows and their order are those of the files. TensorFlow is not needed.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxalign.data.records.read import detect_format, read_records
from jaxalign.data.records.report import ReadReport
from jaxalign.data.sources.source import Source, open_source
from jaxalign.data.sources.tfds_source import JSON_COLUMNS
from jaxalign.errors import UserError


class _Kept(Sequence[dict[str, Any]]):
    """Some rows of a source."""

    def __init__(self, source: Source, kept: list[int]):
        self._source, self._kept = source, kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, i: Any) -> Any:
        return self._source[self._kept[i]]


class _RowsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The rows of one source per split, with features found from the rows."""

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, name: str, splits: Mapping[str, _Kept], **kwargs: Any):
        """Takes the dataset's name and what each split is read from."""
        self.name = name  # pyright: ignore (one class, many datasets)
        self._sources = dict(splits)
        self._kinds = _column_kinds(self._sources)
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        columns = [k for k, kind in self._kinds.items() if kind == "json"]
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {name: _feature(kind) for name, kind in self._kinds.items()}
            ),
            metadata=tfds.core.MetadataDict({JSON_COLUMNS: sorted(columns)}),
            # TFDS otherwise orders rows by a hash of their keys, and here they keep
            # theirs.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {k: self._generate_examples(s) for k, s in self._sources.items()}

    def _generate_examples(self, rows: _Kept) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, row in enumerate(rows):
            yield i, {k: _stored(row, k, kind) for k, kind in self._kinds.items()}


class PreferencePairs(_RowsBuilder, skip_registration=True):
    """Preference pairs from files."""


class PromptCompletions(_RowsBuilder, skip_registration=True):
    """Prompts and completions, or conversations, from files."""


def prepare_tfds(
    name: str,
    files: str | Mapping[str, str],
    out_dir: str | os.PathLike[str],
    *,
    on_bad_row: str = "error",
) -> str:
    """Prepares a TFDS dataset from files.

    Args:
      name: of the dataset: small letters, digits and underscores.
      files: what `open_source` takes, for the split `train`; or split -> that.
      out_dir: the TFDS data folder to write to.
      on_bad_row: `error`, or `drop` to leave up to 1 % bad rows out.

    Returns:
      The folder of the prepared dataset; `open_source` reads it.

    Raises:
      UserError: for a bad name, a folder that holds the dataset already, or rows that
        are neither pairs nor completions, the first bad one named.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(
            f"dataset name {name!r}: use small letters, digits and underscores, "
            "beginning with a letter."
        )
    specs = {"train": files} if isinstance(files, str) else dict(files)
    kinds, splits = set(), {}
    for split, spec in specs.items():
        kind, splits[split] = _checked(open_source(spec), on_bad_row)
        kinds.add(kind)
    if len(kinds) != 1:
        raise UserError(
            f"{', '.join(specs.values())}: some splits hold pairs and others do not. "
            "Prepare them as two datasets."
        )
    builder = kinds.pop()(
        name=name,
        splits=splits,
        data_dir=os.fspath(out_dir),
        file_format="array_record",
    )
    if builder.is_prepared():
        raise UserError(
            f"{builder.data_path}: exists already. Remove it, or choose another name."
        )
    # Nothing is downloaded; without a folder for it TFDS makes one beside the data.
    with tempfile.TemporaryDirectory() as scratch:
        builder.download_and_prepare(download_dir=scratch)
    return os.fspath(builder.data_path)


def _checked(source: Source, on_bad_row: str) -> tuple[type[_RowsBuilder], _Kept]:
    """The builder that fits the rows, and those of them that can be used."""
    report = ReadReport()
    try:
        format, kind = detect_format(source, "preference"), PreferencePairs
    except UserError:
        format, kind = detect_format(source, "sft"), PromptCompletions
    # Read to the end for the report; too many bad rows raise on the way.
    for _ in read_records(source, format, on_bad_row=on_bad_row, report=report):
        pass
    bad = {error.where for error in report.bad}
    good = [i for i in range(len(source)) if source.where(i) not in bad]
    return kind, _Kept(source, good)


def _column_kinds(splits: Mapping[str, _Kept]) -> dict[str, str]:
    """Column -> kind; `json` where rows differ in kind or lack the column."""
    kinds: dict[str, set[str]] = {}
    seen: dict[str, int] = {}
    rows = 0
    for source in splits.values():
        for row in source:
            rows += 1
            for name, value in row.items():
                kinds.setdefault(name, set()).add(_kind(value))
                seen[name] = seen.get(name, 0) + 1
    return {
        name: next(iter(found)) if len(found) == 1 and seen[name] == rows else "json"
        for name, found in kinds.items()
    }


def _kind(value: Any) -> str:
    if _is_text(value):
        return "text"
    # Before int, because a bool is one.
    if isinstance(value, bool):
        return "bool"
    # Larger ones go as JSON text: the feature is int64.
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return "int"
    # An empty list does not show what its entries are, so its column goes as JSON.
    if isinstance(value, list) and value and all(map(_is_text, value)):
        return "texts"
    if isinstance(value, list) and value and all(map(_is_message, value)):
        return "messages"
    return "json"  # floats too: TFDS keeps only 32 bits of them


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and value.encode("utf-8") is not None
    except UnicodeEncodeError:
        return False


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"role", "content"}
        and all(map(_is_text, value.values()))
    )


def _feature(kind: str) -> Any:
    text = tfds.features.Text()
    if kind == "messages":
        return tfds.features.Sequence({"role": text, "content": text})
    return {
        "text": text,
        "json": text,
        "bool": np.bool_,
        "int": np.int64,
        "texts": tfds.features.Sequence(text),
    }[kind]


def _stored(row: Mapping[str, Any], name: str, kind: str) -> Any:
    if kind == "json":
        # No JSON text is empty, so '' can say that the row lacks the column.
        return json.dumps(row[name]) if name in row else ""
    return row[name]
