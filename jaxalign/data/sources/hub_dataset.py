"""Data sets of the Hugging Face Hub, through the optional package `datasets`."""

import hashlib
import importlib.util
import os
import re
from typing import Any

from jaxalign.errors import UserError

_NAME = re.compile(r"[\w.-]+/[\w.-]+(:[A-Za-z_].*)?")
_AT_A_TIME = 1000  # rows between two updates of the digest


class HubDataset:
    """Rows of one split. Pictures and sound are never decoded, no code is run."""

    def __init__(self, dataset: Any, name: str):
        """Takes a `datasets.Dataset` and what it is called in messages."""
        import datasets  # pyright: ignore[reportMissingImports]

        raw = datasets.Features({k: _undecoded(v) for k, v in dataset.features.items()})
        same = raw == dataset.features
        # A cast writes all rows anew, and most data sets need none.
        self._rows, self._name = dataset if same else dataset.cast(raw), name

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """The row at index `i`."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)}")
        return dict(self._rows[int(i) % len(self)])

    def where(self, i: int) -> str:
        """Data set, split and index of row `i`."""
        return f"{self._name}[{i % len(self)}]"

    def fingerprint(self) -> str:
        """sha256 over the rows as Arrow holds them."""
        total = hashlib.sha256()
        for table in self._rows.with_format("arrow").iter(batch_size=_AT_A_TIME):
            # How the cache is divided into chunks must not show in the digest.
            for batch in table.combine_chunks().to_batches():
                total.update(batch.serialize())
        return total.hexdigest()


def looks_like_a_name(spec: str) -> bool:
    """Whether `spec` could be OWNER/NAME on the Hub and no path that was meant here.

    >>> looks_like_a_name("trl-lib/ultrafeedback_binarized:train")
    True
    """
    return (
        _NAME.fullmatch(spec) is not None
        and not os.path.isdir(spec.split("/")[0])
        and not spec.startswith(".")
    )


def open_hub(spec: str) -> HubDataset:
    """Opens `hf:OWNER/NAME:SPLIT`, `hf:OWNER/NAME/CONFIG:SPLIT`, or that without `hf:`.

    The split may be a slice (`train[:10%]`), and is needed if there are several. What
    is in the cache of `datasets` is not fetched again.

    Raises:
      UserError: without the package, for names that are not found, for data sets that
        are a program, and where the network fails.
    """
    name = spec.removeprefix("hf:")
    _need_package(spec)
    import datasets  # pyright: ignore[reportMissingImports]

    # A colon before a letter: one in `train[10:20]` belongs to a slice.
    colon = re.search(":(?=[A-Za-z_])", name)
    path, split = name, None
    if colon is not None:
        path, split = name[: colon.start()], name[colon.end() :]
    config = None
    if not os.path.isdir(path):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+){0,2}", path):
            raise UserError(
                f"{spec}: not understood. Write hf:OWNER/NAME:SPLIT or "
                "hf:OWNER/NAME/CONFIG:SPLIT."
            )
        owner, *rest = path.split("/")
        path = "/".join([owner, *rest[:1]])
        config = rest[1] if len(rest) > 1 else None
    try:
        found = datasets.load_dataset(path, config, split=split)
    except Exception as error:  # from network, cache, parsers of every kind of file
        raise _explained(spec, error) from error
    if isinstance(found, datasets.DatasetDict):
        names = [str(name) for name in found]
        if len(names) != 1:
            raise UserError(
                f"{spec}: holds several splits: {', '.join(names)}. Choose one: "
                f"{spec}:{names[0]}."
            )
        found = found[names[0]]
    assert isinstance(found, datasets.Dataset)
    return HubDataset(found, spec)


def _need_package(spec: str) -> None:
    # The test suite and lazy installs may put None or nothing where the package was.
    try:
        found = importlib.util.find_spec("datasets") is not None
    except ValueError:
        found = False
    if not found:
        missing = "" if spec.startswith("hf:") else "no such file or folder here; "
        raise UserError(
            f"{spec}: {missing}reading data sets of the Hugging Face Hub needs the "
            "package datasets. pip install jaxalign[datasets], or give a path."
        )


def _explained(spec: str, error: Exception) -> UserError:
    said = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    here = "" if spec.startswith("hf:") else "no such file or folder here, and "
    if "scripts are no longer supported" in said:
        return UserError(
            f"{spec}: {here}the data set is a program ({said}), which is never run. "
            "Take its Parquet version, or save it as JSON lines."
        )
    return UserError(
        f"{spec}: {here}the Hugging Face Hub gives no such rows ({said}). Check name, "
        "configuration (hf:OWNER/NAME/CONFIG:SPLIT), split, login and network; or save "
        "it where there is a network (save_to_disk) and give that folder."
    )


def _undecoded(feature: Any) -> Any:
    """The feature with pictures and sound as they are stored; JSON becomes objects."""
    import datasets  # pyright: ignore[reportMissingImports]

    if isinstance(feature, dict):
        return {k: _undecoded(v) for k, v in feature.items()}
    if isinstance(feature, list):
        return [_undecoded(v) for v in feature]
    if isinstance(feature, datasets.Sequence | datasets.LargeList):
        columns: Any = feature
        inner = _undecoded(columns.feature)
        return type(columns)(inner, **_length(columns))
    if getattr(feature, "decode", False) and type(feature).__name__ != "Json":
        return type(feature)(decode=False)
    return feature


def _length(feature: Any) -> dict[str, int]:
    return {"length": feature.length} if hasattr(feature, "length") else {}
