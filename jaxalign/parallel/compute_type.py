"""In which type a machine multiplies matrices."""

from typing import Any

import jax.numpy as jnp


def compute_type(wanted: str, device: Any) -> Any:
    """The type of matrix products, with what `auto` means on a device.

    Args:
      wanted: `auto`, or the name of a type.
      device: One of those that compute; of a topology, too.

    >>> import jax
    >>> compute_type("auto", jax.devices("cpu")[0]), compute_type("bfloat16", None)
    (dtype('float32'), dtype(bfloat16))
    """
    if wanted == "auto":
        wanted = "bfloat16" if _multiplies_bfloat16(device) else "float32"
    return jnp.dtype(wanted)


def _multiplies_bfloat16(device: Any) -> bool:
    if device.platform == "gpu":
        # NVIDIA's have it from Ampere on; those of others name no such number.
        found = str(getattr(device, "compute_capability", ""))
        major = found.split(".")[0]
        return not major.isdecimal() or int(major) >= 8
    return device.platform == "tpu"
