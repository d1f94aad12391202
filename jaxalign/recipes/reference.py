"""Log-probabilities under the frozen reference: computed once, kept on disk."""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalign.batch import Batch
from jaxalign.data.packing.pack import unpack_targets

Scorer = Callable[[Any, Any], jax.Array | np.ndarray]
"""`(params, Tokens) -> [R, M]` log-probabilities of the target slots."""


def fingerprint(**parts: Any) -> str:
    """A short digest of everything that the log-probabilities depend on.

    >>> fingerprint(model="a", dtype="float32") == fingerprint(model="a", dtype="x")
    False
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def weights_digest(folder: Path) -> str:
    """The digest of a model folder's weights and configuration."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while piece := stream.read(1 << 24):
                digest.update(piece)
    return digest.hexdigest()


def score(
    scorer: Scorer,
    params: Any,
    batches: Iterable[Batch],
    place: Callable[[Any], Any],
) -> dict[int, np.ndarray]:
    """Log-probabilities of every example's targets.

    Args:
      scorer: The jitted scorer.
      params: The reference's parameters.
      batches: Batches that hold every example at least once.
      place: From a host batch to the scorer's argument.

    Returns:
      `{example id: [m] float32}`, in the order of the example's targets.
    """
    found: dict[int, np.ndarray] = {}
    waiting = None
    for batch in batches:
        logps = scorer(params, place(batch))
        if waiting is not None:
            found |= unpack_targets(waiting[0], np.asarray(waiting[1]))
        waiting = batch, logps
    if waiting is not None:
        found |= unpack_targets(waiting[0], np.asarray(waiting[1]))
    return found


def load(file: Path, ids: Iterable[int]) -> dict[int, np.ndarray] | None:
    """What `save` wrote; None if it is not there, damaged, or short of `ids`."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            keys, ends, values = arrays["ids"], arrays["ends"], arrays["values"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    pieces = np.split(values, ends[:-1]) if len(ends) else []
    found = {int(k): piece for k, piece in zip(keys, pieces, strict=True)}
    return found if all(i in found for i in ids) else None


def save(file: Path, logps: Mapping[int, np.ndarray]) -> None:
    """Writes the cache; it appears under its name only when it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part.npz")
    values = [np.asarray(x, np.float32) for x in logps.values()]
    np.savez(
        part,
        ids=np.fromiter(logps, np.int64, len(logps)),
        ends=np.cumsum([len(x) for x in values]),
        values=np.concatenate(values) if values else np.zeros(0, np.float32),
    )
    part.replace(file)
