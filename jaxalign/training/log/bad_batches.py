"""What there is to look at of steps whose loss or gradient was not finite."""

import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np


def write_bad_batches(path: pathlib.Path, bad: list[tuple[int, Any]]) -> None:
    """Writes the last batch and the example ids of all as plain arrays."""
    arrays = {"steps": np.asarray([step for step, _ in bad])}
    for step, batch in bad:
        named = dict(_named_leaves(batch))
        if "example_ids" in named:
            arrays[f"example_ids/{step}"] = named["example_ids"]
    last = {f"batch/{name}": x for name, x in _named_leaves(bad[-1][1])}
    np.savez(path, allow_pickle=False, **arrays, **last)


def _named_leaves(batch: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a batch by the last part of their path, `example_ids` say."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
        yield jax.tree_util.keystr(path[-1:], simple=True), np.asarray(leaf)
