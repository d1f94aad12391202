"""Log-probabilities under the frozen reference, and what they depend on."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalign.batch import Batch
from jaxalign.data.packing.pack import unpack_targets
from jaxalign.errors import UserError
from jaxalign.plain_files import UnreadableError, open_plain

Scorer = Callable[[Any, Any], jax.Array | np.ndarray]
"""`(params, Tokens) -> [R, M]` log-probabilities of the target slots."""


def fingerprint(**parts: Any) -> str:
    """A short digest of everything that the log-probabilities depend on.

    >>> fingerprint(model="a", dtype="float32") == fingerprint(model="a", dtype="x")
    False
    """
    text = json.dumps(parts, sort_keys=True, default=str)
    # 128 bits, which do for telling scores apart.
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def weights_digest(folder: Path) -> str:
    """The digest of a model folder's weights and configuration."""
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        # With the names: the same bytes under others would be another model.
        digest.update(file.name.encode())
        with _opened(file) as stream:
            while piece := stream.read(1 << 24):
                digest.update(piece)
    return digest.hexdigest()


def _opened(file: Path):
    try:
        return open_plain(file)
    except (FileNotFoundError, UnreadableError) as error:
        reason = "it is not there" if isinstance(error, OSError) else error
        raise UserError(f"{file}: {reason}. Fetch the model's folder again.") from error


def score_batches(
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
    for batch in score_each(scorer, params, batches, place):
        found |= batch
    return found


def score_each(
    scorer: Scorer,
    params: Any,
    batches: Iterable[Batch],
    place: Callable[[Any], Any],
) -> Iterator[dict[int, np.ndarray]]:
    """`score_batches`, batch by batch; each is read while the next one is computed."""
    waiting = None
    for batch in batches:
        logps = scorer(params, place(batch))
        if waiting is not None:
            yield unpack_targets(waiting[0], np.asarray(waiting[1]))
        waiting = batch, logps
    if waiting is not None:
        yield unpack_targets(waiting[0], np.asarray(waiting[1]))
