"""Datasets of TFDS, through `as_data_source`: TensorFlow is never imported."""

import difflib
import hashlib
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxalign.data.sources import files
from jaxalign.data.sources.jsonl import parse_json
from jaxalign.errors import RowError, UserError

JSON_COLUMNS = "json_columns"
"""Key in a dataset's metadata: columns whose text is JSON ('' where there is none)."""

_IN_MEMORY = 256 << 20


class TfdsRows:
    """Rows of one split; bytes become text, arrays lists, sequences of dicts lists.

    Small splits are held in memory.
    """

    def __init__(self, builder: Any, split: str):
        """Opens a split of a prepared builder."""
        self.name = f"tfds:{builder.info.full_name}:{split}"
        self._features = builder.info.features
        self._json = frozenset((builder.info.metadata or {}).get(JSON_COLUMNS, ()))
        try:
            self._rows = builder.as_data_source(split=split)
            paths = builder.info.splits[split].filepaths
        except NotImplementedError as error:
            raise UserError(
                f"{self.name}: was prepared in a format that needs TensorFlow. "
                'Prepare it again with file_format="array_record".'
            ) from error
        except (ValueError, KeyError, IndexError) as error:
            names = ", ".join(builder.info.splits) or "none"
            raise UserError(
                f"{self.name}: no such split. The splits are {names}; slices look like "
                "train[:10%]."
            ) from error
        self._paths = sorted({str(path) for path in paths})
        size = sum(os.path.getsize(p) for p in self._paths if os.path.exists(p))
        self._held: list[Any] | None = None
        if size <= _IN_MEMORY:
            self._held = self._read(list(range(len(self._rows))))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        i = int(i) % len(self)
        raw = self._read([i])[0] if self._held is None else self._held[i]
        try:
            row = _decoded(self._features, raw)
        except UnicodeDecodeError as error:
            raise RowError(
                self.where(i),
                f"bytes that are not UTF-8 ({error})",
                "Prepare it again.",
            ) from error
        for name in self._json & row.keys():
            # '' stands where the row lacks the column; see `builders.py`.
            if (text := row.pop(name)) != "":
                row[name] = parse_json(text.encode(), f"{self.where(i)}: {name}")
        return row

    def where(self, i: int) -> str:
        """Dataset, split and index of row `i`."""
        return f"{self.name}[{i % len(self)}]"

    def fingerprint(self) -> str:
        """sha256 over the name of the split and the bytes of its files."""
        content = f"{self.name}\n{files.digest(self._paths)}"
        return hashlib.sha256(content.encode()).hexdigest()

    def _read(self, indices: list[int]) -> list[Any]:
        try:
            return list(self._rows.__getitems__(indices)) if indices else []
        except RuntimeError as error:
            raise UserError(
                f"{self.name}: a file is missing, cut off or damaged: "
                f"{', '.join(self._paths)} ({error}). Prepare the dataset again."
            ) from error


def open_tfds(spec: str) -> TfdsRows:
    """Opens `tfds:NAME:SPLIT` or `tfds:NAME/CONFIG:SPLIT`.

    The dataset is looked for where TFDS keeps its data (`TFDS_DATA_DIR`); one that is
    not there yet is downloaded and prepared, if TFDS knows how.

    Raises:
      UserError: for an unknown dataset or split, or one that cannot be prepared.
    """
    match = re.fullmatch(r"tfds:([\w./*-]+(?::\d[\d.*]*)?)(?::([A-Za-z_].*))?", spec)
    if not match:
        raise UserError(
            f"{spec}: not understood. Write tfds:NAME:SPLIT or tfds:NAME/CONFIG:SPLIT, "
            "for example tfds:imdb_reviews:train[:10%]."
        )
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(match[1], file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        names = tfds.list_builders(with_community_datasets=False)
        place = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        near = difflib.get_close_matches(match[1], names, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UserError(
            f"{spec}: TFDS knows no dataset `{match[1]}` and none is prepared in "
            f"{place}.{hint} Set TFDS_DATA_DIR, or give the folder of the prepared "
            "dataset."
        ) from error
    except (ValueError, OSError) as error:
        raise UserError(f"{spec}: {str(error).splitlines()[0]}") from error
    if not builder.is_prepared():
        _prepare(builder, spec)
    return TfdsRows(builder, _split_name(builder, match[2]))


def open_directory(folder: str, split: str | None) -> TfdsRows:
    """Opens a split of a dataset that was prepared in `folder`."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{folder}: holds no readable TFDS dataset ({error}). Prepare it again."
        ) from error
    return TfdsRows(builder, _split_name(builder, split))


def _prepare(builder: Any, spec: str) -> None:
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:
        raise UserError(
            f"{spec}: is not prepared in {builder.data_path}, and preparing it failed: "
            f"{type(error).__name__}: {error}. Prepare it where there is a network, "
            'with file_format="array_record", and copy the folder.'
        ) from error


def _split_name(builder: Any, split: str | None) -> str:
    names = list(builder.info.splits)
    if split is not None:
        return split
    if len(names) == 1:
        return names[0]
    raise UserError(
        f"tfds:{builder.info.full_name}: no split was chosen. It has "
        f"{', '.join(names)}: add :{names[0] if names else 'train'}."
    )


def _decoded(feature: Any, value: Any) -> Any:
    """Python values of what TFDS gives for a feature."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.FeaturesDict):
        return {k: _decoded(feature[k], v) for k, v in value.items()}
    if isinstance(feature, tfds.features.Sequence):
        inner = feature.feature
        # TFDS keeps a sequence of dicts as a dict of lists.
        if isinstance(inner, tfds.features.FeaturesDict) and isinstance(value, Mapping):
            rows = zip(*value.values(), strict=True)
            value = [dict(zip(value, row, strict=True)) for row in rows]
        return [_decoded(inner, v) for v in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
