"""The folder of one step: written in full and sealed, and read back as it was."""

import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxalign import os_errors, plain_files
from jaxalign.errors import UserError
from jaxalign.training import chaos
from jaxalign.training.checkpoints import manifest, orbax_store
from jaxalign.training.checkpoints.manifest import BadCheckpointError
from jaxalign.training.folder import own_files
from jaxalign.training.stopping.exits import (
    UNAVAILABLE,
    USER_ERROR,
    CheckpointSaveError,
)


class Restored(NamedTuple):
    """What a checkpoint held."""

    step: int
    state: Any
    data: dict[str, Any]
    host: dict[str, Any]


def begin(
    folder: pathlib.Path, body: dict[str, Any], arrays: dict[tuple[str, ...], Any]
) -> None:
    """Makes the folder, with the arrays in it; `seal` does the rest.

    Args:
      folder: What was there goes.
      body: Of the manifest: its leaves get their digests.
      arrays: By path in the state.
    """
    own_files.remove(folder)
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        # Of the array in memory, so that damage on the way to the disk is noticed.
        digest = manifest.leaf_digest(np.asarray(array))
        body["leaves"]["/".join(name)]["sha256"] = digest
    orbax_store.write_arrays(folder / "arrays", arrays)


def seal(folder: pathlib.Path, body: dict[str, Any], texts: Mapping[str, str]) -> None:
    """Writes the texts, then the manifest that makes a checkpoint of the folder.

    Args:
      folder: As `begin` left it.
      body: Of the manifest, without its table of files.
      texts: Further files by name.
    """
    chaos.at("save")
    for name, text in texts.items():
        (folder / name).write_text(text)
    # This flushes every file to disk before the manifest names it.
    files = manifest.file_table(folder)
    chaos.at("manifest")
    manifest.write_manifest(folder, {**body, "files": files})


def described(tree: Any) -> dict[str, dict[str, Any]]:
    """Shape and dtype of every leaf, by its path with slashes."""
    leaves = manifest.named_leaves(tree).items()
    return {"/".join(path): manifest.describe_leaf(leaf) for path, leaf in leaves}


def load(
    folder: pathlib.Path,
    body: dict[str, Any],
    target: Any,
    inside: tuple[str, ...],
    check_leaves: bool,
) -> Restored:
    """Reads what a step holds: state, position in the data, and what the host keeps.

    Args:
      folder: Of the step.
      body: Its manifest.
      target: The state, as `Checkpoints.restore` takes it.
      inside: Where `target` lies in the state.
      check_leaves: Whether what was read is compared with the digests of the leaves.

    Raises:
      UserError: The saved tree, a shape or a type differs from the target.
      BadCheckpointError: The folder does not hold what the manifest says.
    """
    for name in reversed(inside):
        target = {name: target}
    start = "".join(f"{name}/" for name in inside)
    saved = {k: v for k, v in body["leaves"].items() if k.startswith(start)}
    # Compared first, because Orbax casts in silence.
    found = manifest.differences(saved, described(target))
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(
            f"checkpoint {folder} does not fit this run: {'; '.join(found[:3])}"
            f"{more}. Use the model and optimizer settings that it was saved with"
        )
    try:
        data = plain_files.read_object(folder / "data.json")
        host = plain_files.read_object(folder / "host.json")
        arrays = folder / "arrays"
        state = orbax_store.read_arrays(arrays, target, partly=bool(inside))
    except Exception as error:
        raise BadCheckpointError(f"it does not load ({error})") from error
    if check_leaves:
        for path, array in orbax_store.plain_leaves(state).items():
            name = "/".join(path)
            # One at a time: all of them would be the state once more.
            if manifest.leaf_digest(np.array(array)) != body["leaves"][name]["sha256"]:
                raise BadCheckpointError(f"{name} loads with other values")
    for name in inside:
        state = state[name]
    return Restored(body["step"], state, data, host)


def save_error(
    path: pathlib.Path, needed: int, error: Exception | None
) -> CheckpointSaveError:
    """Why a checkpoint was not written.

    Args:
      path: Its folder.
      needed: Bytes.
      error: What was raised; None: there is not enough room, as was seen before.
    """
    if error is None or os_errors.disk_is_full(error):
        reason = "there is not enough room" if error is None else "the disk is full"
        sizes = f"It needs about {needed / 1e6:.1f} MB"
        free = _free(path)
        sizes += "" if free is None else f", {free / 1e6:.1f} MB are free"
        # What libraries below Python say of it is a page.
        short = isinstance(error, OSError) and error.strerror is not None
        said = f" ({os_errors.in_a_sentence(error)})" if error and short else ""
        return CheckpointSaveError(
            f"the checkpoint {path} was not written: {reason}{said}. {sizes}; make "
            "room, or lower --keep-last"
        )
    code = USER_ERROR if os_errors.exit_code_of(error) == USER_ERROR else UNAVAILABLE
    return CheckpointSaveError(
        f"the checkpoint {path} was not written: {os_errors.in_a_sentence(error)}. "
        "Mend that, and start the same command again: it goes on from the checkpoint "
        "before",
        code,
    )


def _free(path: pathlib.Path) -> int | None:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None
