"""One mesh with the axes `data`, `fsdp`, `sequence` and `tensor`."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxalign.errors import UserError
from jaxalign.parallel.activations import ACTIVATIONS

AXES = ("data", "fsdp", "sequence", "tensor")


def make_mesh(sizes: Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over all devices, or over those given.

    Args:
      sizes: Devices along `data` (replicas of the state, each with its own rows),
        `fsdp` (rows and state are both split), `sequence` (the positions of a row are
        split) and `tensor` (matrices are split).
        An axis left out is 1; one axis may be -1, which is what remains.
      devices: The devices; all of them by default.

    Returns:
      A mesh with all four axes, of the automatic kind.

    Raises:
      UserError: If the sizes do not multiply to the number of devices.

    >>> dict(make_mesh({"fsdp": -1}, jax.devices()[:1]).shape)
    {'data': 1, 'fsdp': 1, 'sequence': 1, 'tensor': 1}
    """
    devices = jax.devices() if devices is None else devices
    unknown = set(sizes) - set(AXES)
    if unknown:
        raise UserError(f"mesh has no axis {sorted(unknown)}; the axes are {AXES}")
    shape = [sizes.get(axis, 1) for axis in AXES]
    if shape.count(-1) > 1 or any(n < 1 and n != -1 for n in shape):
        raise UserError(
            f"mesh sizes must be positive, one of them may be -1; got {dict(sizes)}"
        )
    known = math.prod(n for n in shape if n != -1)
    shape = [len(devices) // known if n == -1 else n for n in shape]
    if math.prod(shape) != len(devices):
        raise UserError(
            f"mesh {dict(zip(AXES, shape, strict=True))} has {math.prod(shape)} places "
            f"and there are {len(devices)} devices; set one axis to -1, or mend them"
        )
    # Explicit axes, which JAX makes by default, refuse the gather of an embedding.
    kinds = (AxisType.Auto,) * len(AXES)
    return Mesh(_arranged(shape, devices), AXES, axis_types=kinds)


def _arranged(shape: Sequence[int], devices: Sequence[Any]) -> np.ndarray:
    """The devices such that neighbours on an axis are neighbours in the machine.

    Slices, which know each other over a slower network, lie along `data`.
    """
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices > 1:
        if shape[0] % slices:
            raise UserError(
                f"the devices are {slices} slices, which only the axis data may join, "
                f"and data is {shape[0]}; set data to a multiple of {slices}"
            )
        inside = [shape[0] // slices, *shape[1:]]
        outside = [slices] + [1] * (len(shape) - 1)
        make = functools.partial(
            mesh_utils.create_hybrid_device_mesh, inside, outside, devices
        )
    else:
        make = functools.partial(mesh_utils.create_device_mesh, shape, devices)
    try:
        return make()
    except (NotImplementedError, ValueError):
        pass
    try:
        # An axis that is as long as no side of the machine nor a product of sides.
        return make(allow_split_physical_axes=True)
    except (NotImplementedError, ValueError) as error:
        raise UserError(
            f"mesh {dict(zip(AXES, shape, strict=True))} cannot be laid over these "
            f"{len(devices)} devices: {' '.join(str(error).split())} Choose sizes that "
            "are products of the machine's sides, such as 4, 4 or 16 on 4x4."
        ) from error


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows split over `data` and `fsdp`; every leaf of a batch has rows first."""
    return NamedSharding(mesh, PartitionSpec(ACTIVATIONS["rows"]))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())
