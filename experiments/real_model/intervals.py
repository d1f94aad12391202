"""Means of what was measured, with how sure they are."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.ops import bootstrap_interval

_ends = jax.jit(bootstrap_interval)  # else each call compiles its loop anew


def interval(values: Iterable[float], seed: int) -> dict[str, float]:
    """A mean over rows with its 95 % bootstrap interval."""
    array = jnp.asarray(np.array(list(values), np.float32))
    ends = _ends(array, jnp.ones_like(array), jax.random.key(seed))
    value, low, high = float(array.mean()), *map(float, ends)
    return {"value": value, "low": low, "high": high, "rows": len(array)}


def grouped(values: Iterable[float], size: int) -> list[float]:
    """The means of groups side by side: the samples of a prompt are one row."""
    array = np.array(list(values), float)
    return array.reshape(-1, size).mean(axis=1).tolist()
