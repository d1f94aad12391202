"""The tensors of a model folder: one safetensors file, or several and an index."""

import pathlib
import re
from typing import Any

import ml_dtypes  # noqa: F401  teaches NumPy, and so safetensors, bfloat16
import numpy as np
from safetensors import SafetensorError, safe_open

from jaxalign.errors import UserError
from jaxalign.json_file import read_json

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_FILE_NAME = r"[^/\\\0]+\.safetensors"
_FLOATS = {"F64", "F32", "F16", "BF16"}


class SafetensorsFolder:
    """Shapes and slices of named tensors; nothing is read before it is asked for.

    Where there is an index, it says which tensors there are and in which file each is:
    another file may hold an old copy of the same name. Without one, the single file
    says it.

    Attributes:
      folder: Where they lie.
      unlisted: Names of tensors in its files that the index does not have.
      forgotten: Names that `forget` was called with.
    """

    def __init__(self, folder: pathlib.Path):
        """Opens the files of `folder`; raises `UserError` if they are not whole."""
        self.folder = folder
        self.unlisted: set[str] = set()
        self.forgotten: list[str] = []
        self._files: dict[str, Any] = {}
        self._where: dict[str, tuple[str, str]] = {}  # known as -> file, stored as
        for file, listed in _listing(folder).items():
            there = set(self._open(file).keys())
            wanted = there if listed is None else listed
            missing = sorted(wanted - there)
            if missing:
                raise UserError(
                    f"{folder / _INDEX} says that {file} holds `{missing[0]}`"
                    f"{_and_more(missing)}, and it does not. Fetch the folder again."
                )
            self._where.update({name: (file, name) for name in wanted})
            self.unlisted |= there - wanted
        self.unlisted -= set(self._where)

    def _open(self, file: str):
        path = self.folder / file
        if not path.is_file():  # a pipe would be waited for
            raise UserError(f"{path} is no regular file. Put the weights there.")
        try:
            self._files[file] = safe_open(path, "numpy")
        except (SafetensorError, OSError) as error:
            raise UserError(
                f"{path} cannot be read as safetensors: {error}. The file is cut short "
                "or damaged; fetch it again."
            ) from error
        return self._files[file]

    @property
    def names(self) -> set[str]:
        """All tensor names."""
        return set(self._where)

    def rename(self, old: str, new: str) -> None:
        """Lets the tensor `old` be known as `new`."""
        if new in self._where:
            raise UserError(
                f"{self.folder} holds both `{old}` and `{new}`, which are two names of "
                "one tensor. Remove the one that is out of date."
            )
        self._where[new] = self._where.pop(old)

    def forget(self, name: str) -> None:
        """Leaves a tensor out of `names`."""
        del self._where[name]
        self.forgotten.append(name)

    def slices(self, name: str):
        """A lazy view of one tensor: index it with slices to read them."""
        file, stored = self._where[name]
        return self._files[file].get_slice(stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor."""
        return tuple(self.slices(name).get_shape())

    def check_float(self, name: str) -> None:
        """Refuses a tensor of a type that no float model has."""
        kind = self.slices(name).get_dtype()
        if kind not in _FLOATS:
            raise UserError(
                f"`{name}` in {self.folder / self._where[name][0]} has type {kind}; "
                "weights are F32, BF16, F16 or F64. Quantised checkpoints are not "
                "supported: give the original one."
            )

    def nbytes(self) -> int:
        """Bytes of all files on disk."""
        return sum((self.folder / f).stat().st_size for f in self._files)


def has_weights(folder: pathlib.Path) -> bool:
    """Whether there are files that `SafetensorsFolder` would open."""
    return (folder / _INDEX).exists() or (folder / _SINGLE).exists()


def _listing(folder: pathlib.Path) -> dict[str, set[str] | None]:
    """File name -> the tensors that the index says it holds; None: all that it has."""
    if (folder / _INDEX).exists():
        files = _read_index(folder / _INDEX)
        absent = sorted(f for f in files if not (folder / f).exists())
        if absent:
            raise UserError(
                f"{folder / _INDEX} names {absent[0]}{_and_more(absent)}, which is not "
                "in the folder. Fetch the missing files."
            )
        return {**files}
    if (folder / _SINGLE).exists():
        return {_SINGLE: None}
    pickled = sorted(
        p.name for ext in ("bin", "pt", "pth", "pkl") for p in folder.glob(f"*.{ext}")
    )
    if pickled:
        raise UserError(
            f"{folder} holds its weights only as {pickled[0]}, a pickle, which can "
            "run code when opened and is never read. Convert to safetensors with the "
            "model's own tools."
        )
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder} holds an adapter (LoRA) and no model. Merge it into its base "
            "model with the tool that made it (`merge_and_unload` in PEFT), and give "
            "the folder that this writes."
        )
    others = sorted(p.name for p in folder.glob("*.safetensors"))
    instead = f" (there is {others[0]}{_and_more(others)})" if others else ""
    raise UserError(
        f"{folder} holds no weights: neither {_SINGLE} nor {_INDEX} is there{instead}."
    )


def _read_index(path: pathlib.Path) -> dict[str, set[str]]:
    """File name -> names of its tensors; every file lies in the index's own folder."""
    entries = read_json(path).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        raise UserError(
            f"{path}: `weight_map` is missing or no object from tensors to files. "
            "Fetch the file again."
        )
    files: dict[str, set[str]] = {}
    for name, file in entries.items():
        if not isinstance(file, str) or not re.fullmatch(_FILE_NAME, file):
            raise UserError(
                f"{path}: `{str(file)[:80]}` (of tensor `{name}`) is no file name of a "
                "safetensors shard in this folder."
            )
        files.setdefault(file, set()).add(name)
    return files


def _and_more(items: list[str]) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""


def read_columns(
    view, rows: slice, columns: np.ndarray, transposed: bool
) -> np.ndarray:
    """`tensor[rows, columns]` in our orientation, reading no more than is needed.

    Args:
      view: What `slices` returned, of one or two axes.
      rows: Rows of ours (the input axis); unused for a vector.
      columns: Indices along our last axis, increasing.
      transposed: The file holds `[out, in]`.
    """
    # One read that covers all columns: a file is sliced, and not indexed.
    low, high = int(columns[0]), int(columns[-1]) + 1
    cover = slice(low, high)
    if len(view.get_shape()) == 1:
        block = view[cover]
    elif transposed:
        block = view[cover, rows].T
    else:
        block = view[rows, cover]
    return block if high - low == len(columns) else block[..., columns - low]
