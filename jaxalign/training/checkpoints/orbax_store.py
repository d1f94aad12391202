"""Arrays to disk and back through Orbax; nothing else in the package imports it."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.training.checkpoints.manifest import named_leaves

IN_FLIGHT = 1 << 28
"""Bytes that are read at a time: without a limit there would be all of them twice."""

# jax.random.key_impl reads this from arrays only, and targets may be abstract.
_GENERATORS = {
    "key<fry>": "threefry2x32",
    "key<rbg>": "rbg",
    "key<urbg>": "unsafe_rbg",
}


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def size_in_bytes(tree: Any) -> int:
    """Bytes that a checkpoint of `tree` takes, with some room for its index."""
    leaves = jax.tree.leaves(tree)
    # Each leaf has metadata of its own: a block of the disk is room enough.
    return sum(leaf.nbytes for leaf in leaves) + 4096 * len(leaves)


def on_host(tree: Any) -> tuple[dict[tuple[str, ...], Any], bool]:
    """Every leaf by its path in the host's memory, and whether they are copies.

    Those of CPUs, and of NumPy, lie there already.
    """
    arrays = (x for x in jax.tree.leaves(tree) if isinstance(x, jax.Array))
    if all(d.platform == "cpu" for x in arrays for d in x.devices()):
        return plain_leaves(tree), False
    return snapshot(tree), True


def plain_leaves(tree: Any) -> dict[tuple[str, ...], Any]:
    """Every leaf by its path, random keys as the integers they are made of."""
    leaves = named_leaves(tree)
    return {k: jax.random.key_data(x) if is_key(x) else x for k, x in leaves.items()}


def snapshot(tree: Any) -> dict[tuple[str, ...], np.ndarray]:
    """Copies every leaf to the host, random keys as the integers they are made of.

    The copies are the caller's own: the device arrays may be donated afterwards.
    """
    leaves = plain_leaves(tree)
    # All copies are begun before the first one is waited for.
    for x in leaves.values():
        if isinstance(x, jax.Array):
            x.copy_to_host_async()
    return {name: np.array(x, copy=True) for name, x in leaves.items()}


def write_arrays(folder: pathlib.Path, arrays: dict[tuple[str, ...], Any]):
    """Writes arrays by path to a new folder; those without elements are left out.

    Of arrays of NumPy Orbax makes copies; those of JAX on CPUs are written from where
    they lie.
    """
    from orbax.checkpoint import v1 as ocp

    context = ocp.Context()
    # Weights shrink by a tenth, for more than twice the time of the processor.
    context.array.saving.use_compression = False
    with context, _without_traces():
        ocp.save(str(folder), _nested({k: v for k, v in arrays.items() if v.size}))


def read_arrays(folder: pathlib.Path, target: Any, *, partly: bool = False) -> Any:
    """Reads a tree like `target`, each leaf born with its sharding.

    Args:
      folder: Where `write_arrays` wrote.
      target: A tree of arrays or `jax.ShapeDtypeStruct`; a leaf without a sharding
        goes to the first device. Its names, shapes and dtypes must be those saved:
        the caller compares them first, because Orbax casts in silence.
      partly: More was saved than `target` has.

    Returns:
      The tree, with random keys as typed keys again.
    """
    from orbax.checkpoint import v1 as ocp

    leaves = named_leaves(target)
    wanted = {name: _abstract(leaf) for name, leaf in leaves.items()}
    context = ocp.Context()
    context.pytree.loading.partial_load = partly
    # Orbax refuses an array that is not smaller than its limit.
    largest = max((_bytes(x) for x in wanted.values()), default=0)
    context.memory.read_concurrent_bytes = max(IN_FLIGHT, largest + 1)
    with context, _without_traces():
        some = {k: v for k, v in wanted.items() if v.size}
        loaded = ocp.load(str(folder), _nested(some))
    found = named_leaves(loaded)
    restored = []
    for name, leaf in leaves.items():
        if name in found:
            array = found[name]
        else:
            # Without elements, so it was not written.
            array = jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding)
        if is_key(leaf):
            array = jax.random.wrap_key_data(array, impl=_GENERATORS[str(leaf.dtype)])
        restored.append(array)
    return jax.tree.unflatten(jax.tree.structure(target), restored)


@contextlib.contextmanager
def _without_traces() -> Iterator[None]:
    """Inside, Orbax does not log the traces of errors that it raises as well."""

    def keep(record: logging.LogRecord) -> bool:
        return not (record.exc_info and "orbax" in record.pathname)

    logger = logging.getLogger("absl")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    if is_key(leaf):
        shape = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        leaf = jax.eval_shape(jax.random.key_data, shape)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _bytes(leaf: jax.ShapeDtypeStruct) -> int:
    return leaf.size * leaf.dtype.itemsize


def _nested(leaves: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """Paths to nested dicts: Orbax then needs no type of ours to read them."""
    tree: dict[str, Any] = {}
    for (*parents, last), leaf in leaves.items():
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = leaf
    return tree
