"""Orders of examples that no library's version changes."""

import numpy as np


def permutation(size: int, seed: int, epoch: int) -> np.ndarray:
    """An order of `range(size)`, the same on every machine and with every version.

    >>> permutation(5, seed=0, epoch=0)
    array([4, 0, 1, 2, 3])
    """
    # splitmix64 of the index, keyed by seed and epoch; arithmetic wraps at 2**64.
    with np.errstate(over="ignore"):
        key = _mix(_mix(np.uint64(seed % 2**64)) + np.uint64(epoch))
        # Stable, so that equal hashes fall alike with every version of NumPy.
        return np.argsort(_mix(np.arange(size, dtype=np.uint64) + key), kind="stable")


# Constants of splitmix64 (Steele, Lea and Flood, 2014); another one would change the
# order of every run.
def _mix(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
