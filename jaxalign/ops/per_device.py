"""An unembedding's work on each device: its own rows, and its own part of the tokens.

The kernel is gathered before the loop over chunks and its gradient is reduced behind
it, so no chunk waits for another device.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxalign.ops.layout import current_layout
from jaxalign.ops.reduce import sum_dtype


class Split(NamedTuple):
    """Over which axes of a mesh an unembedding's arrays are split.

    Attributes:
      mesh: The devices.
      rows: Axes that split the rows of what is per position.
      vocabulary: Axes that split the kernel's rows.
      stored: Those of the axes `rows` that split the kernel's columns.
    """

    mesh: Mesh
    rows: tuple[str, ...]
    vocabulary: tuple[str, ...]
    stored: tuple[str, ...]

    @property
    def kernel(self) -> P:
        """How a `[V, D]` kernel lies."""
        return P(self.vocabulary or None, self.stored or None)

    @property
    def per_row(self) -> P:
        """How an array with rows first lies."""
        return P(self.rows or None)

    @property
    def per_position(self) -> P:
        """The same where devices that share a row's tokens split its positions."""
        return P(self.rows or None, self.vocabulary or None)

    @property
    def sharers(self) -> int:
        """How many devices share the tokens of a row."""
        return math.prod(self.mesh.shape[axis] for axis in self.vocabulary)


def split_of(hidden: jax.Array, kernel: jax.Array) -> Split | None:
    """How the layout in force splits `[R, M, D]` states and a `[V, D]` kernel."""
    layout = current_layout()
    if layout is None:
        return None
    rows = layout.axes("rows", hidden.shape[0])
    stored = layout.axes("stored", kernel.shape[1])
    return Split(
        layout.mesh,
        rows,
        layout.axes("vocabulary", kernel.shape[0]),
        tuple(axis for axis in stored if axis in rows),
    )


def on_each(split: Split | None, fn: Callable[..., Any], ins: Any, outs: Any):
    """`fn` as it is, or run by each device on its part of the arguments.

    Args:
      split: Or None, for one device.
      fn: On arrays of one device.
      ins: A `PartitionSpec` for each argument, made from the split.
      outs: For each result.
    """
    if split is None:
        return fn
    return jax.shard_map(
        fn, mesh=split.mesh, in_specs=ins(split), out_specs=outs(split)
    )


def varying(split: Split | None, tree: Any) -> Any:
    """What is per row, marked as each device's own along the vocabulary too.

    What a loop carries must be marked like what is added to it.
    """
    if split is None or not split.vocabulary:
        return tree
    return jax.tree.map(
        lambda x: jax.lax.pcast(x, split.vocabulary, to="varying"), tree
    )


def gathered(split: Split | None, kernel: jax.Array) -> jax.Array:
    """All columns of a device's rows of the kernel, or all entries of a row `[D]`."""
    if split is None or not split.stored:
        return kernel
    return jax.lax.all_gather(kernel, split.stored, axis=kernel.ndim - 1, tiled=True)


def everywhere(split: Split | None, kernel: jax.Array) -> jax.Array:
    """All rows and columns of the kernel."""
    kernel = gathered(split, kernel)
    if split is None or not split.vocabulary:
        return kernel
    return jax.lax.all_gather(kernel, split.vocabulary, axis=0, tiled=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _whole(split: Split, dtype, kernel: jax.Array) -> jax.Array:
    return everywhere(split, kernel.astype(dtype)).astype(sum_dtype(kernel))


def _whole_forward(split, dtype, kernel):
    return _whole(split, dtype, kernel), kernel


def _whole_backward(split, dtype, kernel, ct):
    del dtype
    for axis, names in enumerate((split.vocabulary, split.stored)):
        if names:
            ct = jax.lax.psum_scatter(ct, names, scatter_dimension=axis, tiled=True)
    return (ct.astype(kernel.dtype),)


_whole.defvjp(_whole_forward, _whole_backward)


def whole(split: Split | None, dtype: Any, kernel: jax.Array) -> jax.Array:
    """`everywhere`, in a type that is wide enough to sum the gradient in.

    Args:
      split: Of the kernel; None for one device.
      dtype: What it is rounded to before it travels; it is computed in that anyway.
      kernel: `[V, D]`, the part that lies on this device.
    """
    if split is None:
        return kernel.astype(sum_dtype(kernel))
    others = tuple(axis for axis in split.rows if axis not in split.stored)
    kernel = _whole(split, dtype, kernel)
    # Marked here as each device's own: marked in a loop, its gradient is summed there.
    return jax.lax.pcast(kernel, others, to="varying") if others else kernel


def scattered(split: Split | None, d_kernel: jax.Array) -> jax.Array:
    """The sum of all devices' gradients, of the columns that lie on this one."""
    if split is None:
        return d_kernel
    if split.stored:
        d_kernel = _summed_columns(split, d_kernel)
    others = tuple(axis for axis in split.rows if axis not in split.stored)
    return jax.lax.psum(d_kernel, others) if others else d_kernel


def _summed_columns(split: Split, x: jax.Array) -> jax.Array:
    """`[V, D]` of each device to their sum `[V, D / n]`, a part of the columns each."""
    parts = math.prod(split.mesh.shape[axis] for axis in split.stored)
    if x.shape[0] % parts:
        return jax.lax.psum_scatter(x, split.stored, scatter_dimension=1, tiled=True)
    # By way of rows: TPUs have no sum that is scattered along the last axis, and would
    # give every device all of it first.
    x = jax.lax.psum_scatter(x, split.stored, scatter_dimension=0, tiled=True)
    return jax.lax.all_to_all(x, split.stored, 1, 0, tiled=True)


def over_rows(split: Split | None, tree: Any) -> Any:
    """Sums over all devices' rows."""
    return tree if split is None or not split.rows else jax.lax.psum(tree, split.rows)


def over_vocabulary(split: Split | None, x: jax.Array) -> jax.Array:
    """The sum over the devices that share a row's tokens."""
    if split is None or not split.vocabulary:
        return x
    return jax.lax.psum(x, split.vocabulary)


def top_over_vocabulary(split: Split | None, x: jax.Array) -> jax.Array:
    """The largest over the devices that share a row's tokens."""
    if split is None or not split.vocabulary:
        return x
    return jax.lax.pmax(x, split.vocabulary)


def first_id(split: Split | None, kernel: jax.Array) -> jax.Array | int:
    """The token id of the first row of a device's part of the kernel."""
    if split is None or not split.vocabulary:
        return 0
    return jax.lax.axis_index(split.vocabulary) * jnp.int32(kernel.shape[0])
