"""One mesh with the axes `data`, `fsdp` and `tensor`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxalign.errors import UserError

AXES = ("data", "fsdp", "tensor")


def make_mesh(sizes: Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh over all devices, or over those given.

    Args:
      sizes: Devices along `data` (replicas of the state, each with its own rows),
        `fsdp` (rows and state are both split) and `tensor` (matrices are split).
        An axis left out is 1; one axis may be -1, which is what remains.
      devices: The devices; all of them by default.

    Returns:
      A mesh with all three axes, of the automatic kind.

    Raises:
      UserError: If the sizes do not multiply to the number of devices.

    >>> dict(make_mesh({"fsdp": -1}, jax.devices()[:1]).shape)
    {'data': 1, 'fsdp': 1, 'tensor': 1}
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
    kinds = (AxisType.Auto,) * len(AXES)
    return jax.make_mesh(tuple(shape), AXES, axis_types=kinds, devices=devices)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows split over `data` and `fsdp`; every leaf of a batch has rows first."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, PartitionSpec())
