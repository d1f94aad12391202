"""The manifest of a checkpoint: digests of its leaves and files, and their check.

Orbax and TensorStore return flipped bits as weights without a word, so a checkpoint
counts only if its `MANIFEST.json` is intact and agrees with every file.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np

from jaxalign import plain_files

NAME = "MANIFEST.json"
FORMAT = 1


class BadCheckpointError(Exception):
    """A step folder that does not hold what it says; the text says in what."""


def named_leaves(tree: Any) -> dict[tuple[str, ...], Any]:
    """The leaves of a pytree by path, in the tree's own order.

    >>> named_leaves({"a": [1, 2]})
    {('a', '0'): 1, ('a', '1'): 2}
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
        if name in leaves:
            raise ValueError(f"two leaves of the state are called {'/'.join(name)}")
        leaves[name] = leaf
    return leaves


def leaf_digest(array: np.ndarray) -> str:
    """sha256 of the elements in logical (row-major) order."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return hashlib.sha256(flat.view(np.uint8).data).hexdigest()


def describe_leaf(leaf: Any) -> dict[str, Any]:
    """Shape and dtype of a leaf, as a manifest spells them.

    >>> describe_leaf(np.zeros((2, 3), np.int32))
    {'shape': [2, 3], 'dtype': 'int32'}
    """
    return {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}


def differences(saved: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Says where two tables of `describe_leaf` differ, a sentence for each leaf."""
    found = []
    for name in sorted(saved.keys() | wanted.keys()):
        if name not in wanted:
            found.append(f"{name} is saved, but this run has no such leaf")
        elif name not in saved:
            found.append(f"{name} is wanted by this run, but was not saved")
        else:
            for what in ("shape", "dtype"):
                a, b = saved[name][what], wanted[name][what]
                if a != b:
                    found.append(f"{name}: saved {what} {a}, wanted {b}")
    return found


def file_table(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below `folder`, the manifest left out.

    Each file is flushed to disk on the way: what the manifest names must survive a
    power cut that the manifest survives.
    """
    table = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise BadCheckpointError(f"{path.name} is a symbolic link")
        if path.is_dir():
            sync(path)
        elif path.name != NAME:
            sync(path)
            table[path.relative_to(folder).as_posix()] = _file_entry(path)
    return table


def write_manifest(folder: pathlib.Path, body: dict[str, Any]) -> None:
    """Writes the manifest, sealed with a digest of its own, and flushes it to disk."""
    body = {"format": FORMAT, **body}
    path = folder / NAME
    path.write_bytes(_sealed(body))
    sync(path)
    sync(folder)


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Reads a manifest back.

    Raises:
      BadCheckpointError: It is missing, damaged, or of a format newer than this.
    """
    path = folder / NAME
    # What is behind a link may change without the manifest.
    if folder.is_symlink() or path.is_symlink():
        raise BadCheckpointError("it is a symbolic link")
    try:
        raw = plain_files.read_plain(path)
        body = plain_files.parse_object(raw)
    except FileNotFoundError:
        raise BadCheckpointError(f"it has no {NAME}: the save never finished") from None
    except (OSError, plain_files.UnreadableError) as error:
        raise BadCheckpointError(f"{NAME} is not readable: {error}") from None
    if body.pop("sha256", None) is None:
        raise BadCheckpointError(f"{NAME} is not a manifest")
    try:
        # As bytes: only the very file that was written is intact.
        intact = _sealed(body) == raw
    except RecursionError:
        intact = False
    if not intact:
        raise BadCheckpointError(f"{NAME} is damaged: its own digest differs")
    if body.get("format") != FORMAT:
        raise BadCheckpointError(
            f"{NAME} has format {body.get('format')}, this version reads {FORMAT}"
        )
    _check_tables(body)
    return body


def _check_tables(body: dict[str, Any]) -> None:
    """Refuses entries of another kind than `write` makes."""
    kinds = {"files": _is_file_entry, "leaves": _is_leaf_entry, "metrics": _is_number}
    for table, is_sound in kinds.items():
        if not isinstance(body.get(table), dict):
            raise BadCheckpointError(f"{NAME} lacks its table of {table}")
        for name, entry in body[table].items():
            if not is_sound(entry):
                raise BadCheckpointError(
                    f"{NAME} says of {name!r} in {table} what it cannot mean"
                )
    for name in body["files"]:
        if not plain_files.is_inside(name):
            raise BadCheckpointError(f"{NAME} names a file elsewhere: {name!r}")


def _is_file_entry(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    return _is_count(entry.get("size")) and isinstance(entry.get("sha256"), str)


def _is_leaf_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("shape"), list):
        return False
    texts = (entry.get("dtype"), entry.get("sha256"))
    return all(map(_is_count, entry["shape"])) and all(
        isinstance(x, str) for x in texts
    )


def _is_count(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x >= 0


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool)


def check_files(folder: pathlib.Path, body: dict[str, Any]) -> None:
    """Compares every file with the manifest.

    Raises:
      BadCheckpointError: Naming the first file that is missing, of another size, or
        of other content.
    """
    root = folder.resolve()
    for name, entry in body["files"].items():
        path = folder / name
        try:
            if path.resolve(strict=True) != root / name:
                raise BadCheckpointError(f"{name} leads out of its place by a link")
            size = path.stat().st_size
            if size != entry["size"]:
                raise BadCheckpointError(
                    f"{name} has {size} bytes, {entry['size']} were written"
                )
            if _file_entry(path)["sha256"] != entry["sha256"]:
                raise BadCheckpointError(f"{name} is damaged: its sha256 differs")
        except (OSError, RuntimeError, plain_files.UnreadableError) as error:
            # RuntimeError is pathlib's word for a loop of links.
            raise BadCheckpointError(f"{name} is not readable ({error})") from None


def sync(path: pathlib.Path) -> None:
    """Flushes a file, or the entries of a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _file_entry(path: pathlib.Path) -> dict[str, Any]:
    with plain_files.open_plain(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        # Of the bytes that were digested, whatever the file has become since.
        return {"size": file.tell(), "sha256": digest}


def _sealed(body: dict[str, Any]) -> bytes:
    text = json.dumps(body, indent=1, sort_keys=True)
    sealed = {**body, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return json.dumps(sealed, indent=1, sort_keys=True).encode()
