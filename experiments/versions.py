"""What a run was made with."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax


def describe(folder: Path) -> dict[str, Any]:
    """Versions, devices, and the commit that `folder` is at, if git knows it."""
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    packages = ("jax", "jaxlib", "numpy", "optax", "chex")
    return {
        "commit": commit,
        "dirty": None if changes is None else changes != "",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "devices": [str(device) for device in jax.devices()],
        "machine": platform.machine(),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
