"""Machines by name, and the environment in which their compiler can be asked."""

import os
import re
from collections.abc import Mapping
from typing import Any

from jaxalign.errors import UserError

EXAMPLES = "v5e:4x4, v5p:4x4x4, v6e:2x2, or cpu:8 for eight virtual CPU devices"


def environment(topology: str) -> dict[str, str]:
    """What a process must have around it before it imports jax.

    Raises:
      UserError: The name is none.
    """
    kind = re.fullmatch(
        r"(?:cpu:([1-9]\d*)|(?:v4|v5e|v5p|v6e|tpu7x):\d+(?:x\d+)+)", topology
    )
    if not kind:
        raise UserError(
            f"--topology {topology} names no machine that programs can be compiled "
            f"for. Write a chip and the sides of the slice, such as {EXAMPLES}."
        )
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    env.pop("JAX_NUM_CPU_DEVICES", None)  # the machine that is planned has its own
    if kind[1]:
        flags = env.get("XLA_FLAGS", "")
        count = f"--xla_force_host_platform_device_count={kind[1]}"
        return env | {"XLA_FLAGS": f"{flags} {count}".strip()}
    # Flags for other compilers end the process of this one; its own have another name.
    env.pop("XLA_FLAGS", None)
    quiet = {"TPU_MIN_LOG_LEVEL": "3", "TPU_STDERR_LOG_LEVEL": "3"}
    # Several processes may use the compiler at once, and nobody asks a metadata server.
    return env | quiet | {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1", "TPU_SKIP_MDS_QUERY": "1"}


def devices_of(topology: str, slices: int = 1) -> list[Any]:
    """The devices of a machine, for meshes; none of them is there.

    Raises:
      UserError: Its compiler is not installed, or there is no such machine.
    """
    import jax

    if topology.startswith("cpu:"):
        return jax.devices()
    from jax.experimental import topologies

    options: Mapping[str, Any] = {}
    # The two cores of a v4 are one device to its programs.
    if topology.startswith("v4:"):
        options = {"chip_config_name": "megacore"}
    sides = [int(side) for side in topology.partition(":")[2].split("x")]
    # A host has 2 x 2 chips or more of them, unless it is said otherwise.
    if any(side % 2 for side in sides[:2]):
        options = {**options, "chips_per_host_bounds": [*sides, 1][:3]}
    if slices > 1:
        options = {**options, "num_slices": slices}
    try:
        described = topologies.get_topology_desc(
            platform="tpu", topology_name=topology, **options
        )
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        said = text.lower()
        if "tpu support not installed" in said or (
            "libtpu" in said and "found" in said
        ):
            raise UserError(
                f"Programs for {topology} are compiled by libtpu, which is not "
                "installed. Run `pip install libtpu` (no TPU is needed)."
            ) from error
        raise UserError(
            f"--topology {topology} is no machine that the compiler knows: {text} "
            f"Try {EXAMPLES}."
        ) from error
    return list(described.devices)
