"""Folders of data files: saved by Hugging Face, prepared by TFDS, or plain."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from jaxalign.data.sources.kinds import kind_of
from jaxalign.errors import UserError
from jaxalign.plain_files import UnreadableError, is_inside, read_object

_SPLITS = {"train", "training", "test", "validation", "valid", "val", "dev", "eval"}
_SPLITS |= {"testing", "evaluation", "holdout"}
# The first group that a folder has a file of is read: tables and `.json` files lie
# beside data as lists of labels, licences and settings.
_GROUPS = (
    ("jsonl", "parquet", "arrow", "array_record", "tfrecord"),
    ("csv",),
    ("json",),
)


def open_folder(
    folder: str, split: str | None, open_files: Callable[[Sequence[str]], Any]
) -> Any:
    """The rows of a folder.

    Args:
      folder: a dataset saved by `datasets` (`state.json` or `dataset_dict.json`), one
        prepared by TFDS (`features.json`), or any folder of data files of one kind.
      split: its split; may be None when there is only one.
      open_files: opens a list of files.

    Raises:
      UserError: if it holds no data, or several splits or kinds and none was chosen.
    """
    if prepared := _prepared_tfds(folder):
        from jaxalign.data.sources import tfds_source

        return tfds_source.open_directory(prepared, split)
    if "dataset_dict.json" in os.listdir(folder):
        splits = _names(folder, "dataset_dict.json", "splits", lambda x: x)
        name = _choose(folder, split, splits)
        return open_folder(os.path.join(folder, name), None, open_files)
    if "state.json" in os.listdir(folder):
        state = _read_json(folder, "state.json")
        if state.get("_indices_files"):
            raise UserError(
                f"{folder}: was saved with an index on top of its rows. Save it again "
                "behind flatten_indices()."
            )
        names = _names(folder, "state.json", "_data_files", lambda x: x["filename"])
        return open_files([os.path.join(folder, name) for name in names])
    return open_files(_files_of_split(folder, split))


def _names(
    folder: str, file: str, key: str, of_entry: Callable[[Any], Any]
) -> list[str]:
    """The names of files or folders that a dataset's own listing gives.

    Raises:
      UserError: It gives none, or one that leads out of the folder.
    """
    try:
        names = [of_entry(x) for x in _read_json(folder, file)[key]]
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{os.path.join(folder, file)}: does not list `{key}` as datasets are "
            "saved. Save the dataset again."
        ) from error
    for name in names:
        if not is_inside(name):
            raise UserError(
                f"{os.path.join(folder, file)}: names {name!r}, which is not in the "
                "folder. Nothing outside of it is read: save the dataset again."
            )
    return names


def _prepared_tfds(folder: str) -> str | None:
    """The folder itself, or its one version, if TFDS made it."""
    if os.path.exists(os.path.join(folder, "features.json")):
        return folder
    versions = [n for n in os.listdir(folder) if re.fullmatch(r"\d+\.\d+\.\d+", n)]
    inner = [os.path.join(folder, n) for n in versions]
    inner = [f for f in inner if os.path.exists(os.path.join(f, "features.json"))]
    if len(inner) > 1:
        raise UserError(
            f"{folder}: holds the versions {', '.join(sorted(versions))}. Name one: "
            f"{inner[0]}."
        )
    return inner[0] if inner else None


def _files_of_split(folder: str, split: str | None) -> list[str]:
    by_kind: dict[str, list[str]] = {}
    for where, subfolders, names in os.walk(folder):
        # In place: os.walk then goes on in this order and leaves hidden folders out.
        subfolders[:] = sorted(n for n in subfolders if not n.startswith((".", "_")))
        for name in sorted(names):
            kind = kind_of(name)
            if kind and not name.startswith((".", "_")):
                by_kind.setdefault(kind, []).append(os.path.join(where, name))
    groups = [[k for k in group if k in by_kind] for group in _GROUPS]
    kinds = next((kinds for kinds in groups if kinds), [])
    if not kinds:
        raise UserError(
            f"{folder}: no data file in this folder. Known are .jsonl, .json, .csv, "
            ".tsv, .parquet, .arrow, .array_record and .tfrecord."
        )
    if len(kinds) > 1:
        raise UserError(
            f"{folder}: holds files of several kinds ({', '.join(kinds)}). Name one "
            f"kind with a glob: '{folder}/**/*.{kinds[0]}'."
        )
    by_split: dict[str, list[str]] = {}
    for path in by_kind[kinds[0]]:
        by_split.setdefault(_split_of(path, folder), []).append(path)
    chosen = by_split[_choose(folder, split, list(by_split))]
    # Configurations of a data set lie like this; together they would be mixed unasked.
    places = sorted({os.path.dirname(path) for path in chosen})
    if len(places) > 1 and any(by_split):
        raise UserError(
            f"{folder}: one split lies in several folders ({', '.join(places)}). Name "
            "one of them, or all with commas between."
        )
    return chosen


def _split_of(path: str, folder: str) -> str:
    """The split that a file's name speaks of, else that of the nearest folder."""
    base = os.path.basename(path)
    # `train_prefs-00000-of-00002.parquet`: whoever wrote it named the split whole.
    if match := re.match(r"([A-Za-z_]+)-\d{5}-of-\d{5}", base):
        return match[1]
    inside = os.path.relpath(os.path.dirname(path), folder).split(os.sep)
    for name in (base, *reversed(inside)):
        if words := _split_words(name):
            return "-".join(words)
    return ""


def _split_words(name: str) -> list[str]:
    """The words for splits in a name: whole words between separators or digits.

    >>> [_split_words(x) for x in ("my_test.jsonl", "data-train-00.csv", "latest.csv")]
    [['test'], ['train'], []]
    """
    words = re.split(r"[\W_\d]+", name.lower())
    return [word for word in dict.fromkeys(words) if word in _SPLITS]


def _choose(folder: str, split: str | None, splits: Sequence[str]) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split is not None and split in splits:
        return split
    names = ", ".join(sorted(name or "(no name)" for name in splits))
    if split is None:
        raise UserError(
            f"{folder}: holds several splits: {names}. Choose one: {folder}:train."
        )
    raise UserError(f"{folder}: has no split `{split}`; it has {names}. Choose one.")


def _read_json(folder: str, name: str) -> Any:
    path = os.path.join(folder, name)
    try:
        return read_object(path)
    except (OSError, UnreadableError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}). Save the dataset again."
        ) from error
