"""`jaxalign env`: what a bug report needs, without secrets."""

import dataclasses
import importlib.metadata
import platform

PACKAGES = (
    "jaxalign jax jaxlib flax optax orbax-checkpoint chex grain tensorflow-datasets "
    "numpy tokenizers safetensors libtpu"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Print the versions and devices that a bug report needs."""


def main(config: Config) -> None:
    """Prints platform, versions and devices."""
    del config
    import jax

    print(f"python {platform.python_version()} on {platform.platform()}")
    # From the metadata: a package that cannot be imported has a version all the same.
    for name in PACKAGES.split():
        try:
            print(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} not installed")
    devices = jax.devices()
    kinds = sorted({device.device_kind for device in devices})
    print(f"{len(devices)} devices of {jax.default_backend()}: {', '.join(kinds)}")
    print(f"process {jax.process_index()} of {jax.process_count()}")
