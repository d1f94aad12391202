"""Log-probabilities under the reference on disk, in pieces that survive a stop.

A shard holds whole batches, because a row's result depends in its last bits on the
batch that it is computed in. A pass that is interrupted computes the batches that are
missing, and comes out the same.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jaxalign.os_errors import naming
from jaxalign.plain_files import UnreadableError, open_plain
from jaxalign.training.folder.own_files import make_folder, remove

_LOG = logging.getLogger("jaxalign")
_NAMES = ("batches", "ids", "ends", "values")

Batch = dict[int, np.ndarray]
"""`{example id: [m] float32}`."""


class Shards:
    """The shards of one pass, verified when they are read."""

    def __init__(self, folder: Path, key: str, *, every: float = 5.0):
        """Nothing is read or written yet.

        Args:
          folder: Of the shards.
          key: The fingerprint of what the log-probabilities depend on.
          every: Seconds of work after which a shard is written.
        """
        self._folder, self._key, self._every = folder, key, every
        self._pending: dict[int, Batch] = {}
        self._since = time.monotonic()
        self._lock = threading.Lock()  # a run is also stopped from another thread

    def read(self, wanted: Sequence[Sequence[int]]) -> dict[int, Batch]:
        """The batches that are there whole.

        Args:
          wanted: The ids of the examples in each batch. Another batch of the same
            number is left out.

        Returns:
          `{number of the batch: its log-probabilities}`.
        """
        found: dict[int, Batch] = {}
        if not self._folder.is_dir():
            return found
        for file in sorted(self._folder.glob("*.safetensors")):
            try:
                batches = _read(file, self._key)
            except UnreadableError as error:
                _LOG.warning("%s is computed again: %s", file, error)
                remove(file)
                continue
            for number, batch in batches.items():
                # Packed otherwise, a batch of this number is another one.
                if number < len(wanted) and set(wanted[number]) == batch.keys():
                    found[number] = batch
        return found

    def add(self, number: int, batch: Mapping[int, np.ndarray]) -> None:
        """Takes a batch, and writes a shard if it is time."""
        with self._lock:
            self._pending[number] = dict(batch)
            due = time.monotonic() - self._since >= self._every
        # Outside of the lock, which `flush` takes as well.
        if due:
            self.flush()

    def flush(self) -> None:
        """Writes what is not written yet."""
        with self._lock:
            if self._pending:
                _write(self._folder, self._key, self._pending)
            self._pending, self._since = {}, time.monotonic()


def _write(folder: Path, key: str, batches: Mapping[int, Batch]) -> None:
    """A file that appears under its name only when it is whole."""
    examples = [(n, k, x) for n, batch in batches.items() for k, x in batch.items()]
    values = [np.asarray(x, np.float32) for _, _, x in examples]
    arrays = {
        "batches": np.array([n for n, _, _ in examples], np.int64),
        "ids": np.array([k for _, k, _ in examples], np.int64),
        "ends": np.cumsum([len(x) for x in values], dtype=np.int64),
        "values": np.concatenate(values),
    }
    file = make_folder(folder) / f"{min(batches):08}-{max(batches):08}.safetensors"
    part = file.with_suffix(".part")
    remove(part)
    with naming(file):
        save_file(arrays, part, {"key": key, "sha256": _digest(arrays)})
    # A folder of that name would not give way to a file.
    remove(file)
    part.replace(file)


def _read(file: Path, key: str) -> dict[int, Batch]:
    try:
        # Refuses pipes and devices, which safe_open would wait for.
        open_plain(file).close()
        with safe_open(file, "numpy") as opened:
            about = opened.metadata() or {}
            if set(opened.keys()) != set(_NAMES):
                raise UnreadableError("it holds other arrays")
            arrays = {name: opened.get_tensor(name) for name in _NAMES}
    except (OSError, SafetensorError) as error:
        raise UnreadableError(f"it is damaged ({error})") from error
    if about.get("key") != key:
        raise UnreadableError("it belongs to another model or other data")
    if about.get("sha256") != _digest(arrays):
        raise UnreadableError("it is damaged: its digest differs")
    pieces = np.split(arrays["values"], arrays["ends"][:-1])
    batches: dict[int, Batch] = {}
    numbers, ids = arrays["batches"].tolist(), arrays["ids"].tolist()
    for number, example, piece in zip(numbers, ids, pieces, strict=True):
        batches.setdefault(number, {})[example] = piece
    return batches


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in _NAMES:
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
