"""Which code ran on what: for `versions.json` and checkpoint manifests."""

import importlib.metadata
import pathlib
import platform
import subprocess
from typing import Any

import jax

import jaxalign

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain")


def versions() -> dict[str, Any]:
    """Versions of the library, Python and what it stands on, git state, devices."""
    devices = jax.devices()
    return {
        "jaxalign": jaxalign.__version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "git": _git(pathlib.Path(jaxalign.__file__).parent),
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
            "processes": jax.process_count(),
        },
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: pathlib.Path) -> dict[str, Any] | None:
    """Commit and whether files were changed since, if the code is a git checkout."""

    def run(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        tracked = run("ls-files", "--", "__init__.py")
        if not tracked:  # installed below somebody else's checkout
            return None
        return {
            "commit": run("rev-parse", "HEAD"),
            # Runs and notes beside the code do not make it another code.
            "dirty": bool(run("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None
