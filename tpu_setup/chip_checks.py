"""What doctor.py asks of the chips: who sees them, who holds them, do they add up."""

import json
import os
import pathlib
import subprocess
import sys

from host_checks import Finding


def accelerator_files(root: pathlib.Path) -> list[pathlib.Path]:
    """The device files of TPU chips below /dev: of one driver or of the other."""
    numbered = [*root.glob("accel[0-9]*"), *root.glob("vfio/[0-9]*")]
    return sorted(path for path in numbered if path.name.lstrip("acel").isdigit())


def device_files(
    platform: str, chips: int | None, root: pathlib.Path = pathlib.Path("/dev")
) -> Finding:
    """The system sees the chips."""
    if platform != "tpu":
        return Finding("device files", "skipped", f"not asked for on {platform}")
    found = accelerator_files(root)
    text = f"{len(found)} chips below {root}; wanted {chips or 'some'}"
    if not found or (chips and len(found) != chips):
        fix = (
            "sudo reboot, then again; if that does not help, tpu_setup/delete.sh and "
            "tpu_setup/create.sh"
        )
        return Finding("device files", "wrong", text, fix)
    return Finding("device files", "fine", text)


def device_holder(
    platform: str,
    proc: pathlib.Path = pathlib.Path("/proc"),
    root: pathlib.Path = pathlib.Path("/dev"),
    lock: pathlib.Path = pathlib.Path("/tmp/libtpu_lockfile"),
) -> Finding:
    """No other process has the chips open, and the lock file can be opened by us."""
    if platform != "tpu":
        return Finding("held by", "skipped", f"not asked for on {platform}")
    files = {str(path) for path in accelerator_files(root)}
    for process in proc.glob("[0-9]*"):
        if process.name != str(os.getpid()) and files & open_files(process):
            text = f"process {process.name}: {command_line(process)}"
            fix = f"Wait for it, or end it: kill {process.name}"
            return Finding("held by", "wrong", text, fix)
    if lock.exists() and not os.access(lock, os.W_OK):
        text = f"nobody; {lock} belongs to user {lock.stat().st_uid}"
        return Finding("held by", "wrong", text, f"sudo rm {lock}")
    return Finding("held by", "fine", "nobody")


def open_files(process: pathlib.Path) -> set[str]:
    """What a process has open, as far as we may see it."""
    found = set()
    try:
        for link in (process / "fd").iterdir():
            found.add(os.readlink(link))
    except OSError:
        pass
    return found


def command_line(process: pathlib.Path) -> str:
    """With what a process was started."""
    try:
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return "ended by now"
    return words.decode(errors="replace").strip()


PROBE = """
import json, jax, jax.numpy as jnp
n = jax.local_device_count()
total = jax.pmap(lambda x: jax.lax.psum(x, "i"), axis_name="i")(jnp.arange(float(n)))
print(json.dumps({"count": n, "kind": jax.devices()[0].device_kind,
                  "processes": jax.process_count(), "sums": total.tolist()}))
"""


def devices(platform: str, chips: int | None, limit: float = 300) -> Finding:
    """JAX sees the chips and a sum over them is right; in a process of its own."""
    env = {**os.environ, "JAX_PLATFORMS": {"gpu": "cuda"}.get(platform, platform)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            env=env,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        text = f"no sum over the devices within {limit:.0f} s"
        return Finding("devices", "wrong", text, "sudo reboot, then again")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        fix = "tpu_setup/README.md, Trouble, has the usual messages"
        return Finding("devices", "wrong", last, fix)
    return judge_devices(json.loads(done.stdout.strip().splitlines()[-1]), chips)


def judge_devices(found: dict, chips: int | None) -> Finding:
    """Whether the probe found what there should be."""
    count = found["count"]
    text = f"{count} of {found['kind']}, wanted {chips or 'some'}"
    if found["processes"] != 1:
        fix = "Choose an accelerator type of topologies.json"
        text = f"{text}; {found['processes']} processes, and one is supported"
        return Finding("devices", "wrong", text, fix)
    if chips and count != chips:
        return Finding("devices", "wrong", text, "sudo reboot, then again")
    if found["sums"] != [count * (count - 1) / 2] * count:
        text = f"{text}; the sum over them is {found['sums'][0]}"
        return Finding("devices", "wrong", text, "Make another VM: a chip is broken")
    return Finding("devices", "fine", f"{text}; the sum over them is right")
