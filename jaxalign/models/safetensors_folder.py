"""The tensors of a model folder: one safetensors file, or several and an index."""

import json
import pathlib
import re
from typing import Any

import ml_dtypes  # noqa: F401  teaches NumPy, and so safetensors, bfloat16
import numpy as np
from safetensors import SafetensorError, safe_open

from jaxalign.errors import UserError

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_FLOATS = {"F64", "F32", "F16", "BF16"}


class SafetensorsFolder:
    """Shapes and slices of named tensors; nothing is read before it is asked for."""

    def __init__(self, folder: pathlib.Path):
        """Opens the files of `folder`; raises `UserError` if they are not whole."""
        self.folder = folder
        self._files: dict[str, Any] = {}
        self._where: dict[str, tuple[str, str]] = {}  # known as -> file, stored as
        for file, wanted in _listing(folder).items():
            names = set(self._open(file).keys())
            missing = sorted(wanted - names)
            if missing:
                raise UserError(
                    f"{folder / _INDEX} says that {file} holds `{missing[0]}`"
                    f"{_and_more(missing)}, and it does not. Fetch the folder again."
                )
            self._where.update({name: (file, name) for name in names})

    def _open(self, file: str):
        path = self.folder / file
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
        self._where[new] = self._where.pop(old)

    def forget(self, name: str) -> None:
        """Leaves a tensor out of `names`."""
        del self._where[name]

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


def _listing(folder: pathlib.Path) -> dict[str, set[str]]:
    """File name -> the tensors that the index says it holds."""
    if (folder / _INDEX).exists():
        index = json.loads((folder / _INDEX).read_text("utf-8"))
        files: dict[str, set[str]] = {}
        for name, file in index["weight_map"].items():
            if not re.fullmatch(r"[\w.\-]+\.safetensors", str(file)):
                raise UserError(
                    f"{folder / _INDEX}: `{file}` (of tensor `{name}`) is no file name "
                    "of a safetensors shard in this folder."
                )
            files.setdefault(file, set()).add(name)
        absent = sorted(f for f in files if not (folder / f).exists())
        if absent:
            raise UserError(
                f"{folder / _INDEX} names {absent[0]}{_and_more(absent)}, which is not "
                "in the folder. Fetch the missing files."
            )
        return files
    if (folder / _SINGLE).exists():
        return {_SINGLE: set()}
    pickled = sorted(
        p.name for ext in ("bin", "pt", "pth", "pkl") for p in folder.glob(f"*.{ext}")
    )
    if pickled:
        raise UserError(
            f"{folder} holds its weights only as {pickled[0]}, a pickle, which can "
            "run code when opened and is never read. Convert to safetensors with the "
            "model's own tools."
        )
    raise UserError(
        f"{folder} holds no weights: neither {_SINGLE} nor {_INDEX} is there."
    )


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
    low, high = int(columns[0]), int(columns[-1]) + 1
    cover = slice(low, high)
    if len(view.get_shape()) == 1:
        block = view[cover]
    elif transposed:
        block = view[cover, rows].T
    else:
        block = view[rows, cover]
    return block if high - low == len(columns) else block[..., columns - low]
