"""What doctor.py asks of a host: each check returns a finding and how to mend it."""

import email.utils
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import NamedTuple

METADATA = "http://metadata.google.internal/computeMetadata/v1"
SETUP = "bash tpu_setup/setup_host.sh --here"
OLDEST_PYTHON = (3, 11)


class Finding(NamedTuple):
    """What a check found.

    Attributes:
      name: Of the check.
      state: "fine", "wrong" or "skipped".
      text: What was found, and what was wanted.
      fix: What to do about it.
    """

    name: str
    state: str
    text: str
    fix: str = ""


def python_version() -> Finding:
    """Python is new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "wrong", f"{found}; wanted 3.11 or newer", SETUP)
    return Finding("python", "fine", found)


def installed(name: str) -> str | None:
    """The version of a package; None if it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def wanted_libtpu() -> str | None:
    """The libtpu that the installed jax asks for, as in `0.0.42.*`."""
    for line in importlib.metadata.requires("jax") or ():
        found = re.match(r"libtpu\s*==\s*([\w.*]+)", line)
        if found:
            return found[1]
    return None


def versions(platform: str) -> Finding:
    """jax, jaxlib and, on TPUs, libtpu fit together."""
    jax, jaxlib = installed("jax"), installed("jaxlib")
    text = f"jax {jax}, jaxlib {jaxlib}"
    if jax is None or jaxlib is None:
        return Finding("versions", "wrong", text, SETUP)
    if jax.split(".")[:3] != jaxlib.split(".")[:3]:
        return Finding("versions", "wrong", f"{text}: they differ", SETUP)
    if platform != "tpu":
        return Finding("versions", "fine", text)
    libtpu, wanted = installed("libtpu"), wanted_libtpu()
    text = f"{text}, libtpu {libtpu}; jax wants {wanted}"
    if libtpu is None or (wanted and not matches(libtpu, wanted)):
        fix = f"{SETUP}; never install libtpu by itself, jax[tpu] chooses it"
        return Finding("versions", "wrong", text, fix)
    return Finding("versions", "fine", text)


def matches(version: str, wanted: str) -> bool:
    """Whether a version is the wanted one, which may end in `.*`.

    >>> matches("0.0.42.1", "0.0.42.*"), matches("0.0.42", "0.0.42.*")
    (True, True)
    >>> matches("0.0.421", "0.0.42.*")
    False
    """
    if not wanted.endswith(".*"):
        return version == wanted
    return f"{version}.".startswith(wanted[:-1])


def disk(folder: pathlib.Path, min_gb: float) -> Finding:
    """There is room for weights and checkpoints."""
    free = shutil.disk_usage(folder).free / 1e9
    text = f"{free:.0f} GB free in {folder}; wanted {min_gb:.0f}"
    if free < min_gb:
        fix = f"Remove old runs: du -sh {folder}/jaxalign-runs/*"
        return Finding("disk", "wrong", text, fix)
    return Finding("disk", "fine", text)


def clock(url: str = "https://storage.googleapis.com", limit: float = 60) -> Finding:
    """The clock agrees with a server's: tokens are refused otherwise."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=10) as reply:
            date = reply.headers["Date"]
    except urllib.error.HTTPError as error:
        date = error.headers["Date"]
    except OSError as error:
        return Finding("clock", "skipped", f"{url} does not reply: {error}")
    if not date:
        return Finding("clock", "skipped", f"{url} does not tell the time")
    there = email.utils.parsedate_to_datetime(date)
    skew = time.time() - there.timestamp()
    text = f"{skew:+.0f} s against {url}; wanted within {limit:.0f}"
    if abs(skew) > limit:
        return Finding("clock", "wrong", text, "sudo systemctl restart chrony")
    return Finding("clock", "fine", text)


def cloud_token(platform: str, metadata: str = METADATA) -> Finding:
    """The VM's account may use the cloud. No token is read or printed."""
    if platform != "tpu":
        return Finding("cloud token", "skipped", "only TPU VMs have an account here")
    url = f"{metadata}/instance/service-accounts/default/scopes"
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            scopes = reply.read().decode().split()
    except OSError as error:
        fix = (
            "Make the VM with tpu_setup/create.sh; SERVICE_ACCOUNT may name its account"
        )
        text = f"the metadata server does not tell of an account: {error}"
        return Finding("cloud token", "wrong", text, fix)
    if any(scope.endswith("/auth/cloud-platform") for scope in scopes):
        return Finding("cloud token", "fine", "the account's scope is cloud-platform")
    fix = "Make the VM again with tpu_setup/create.sh, which asks for that scope"
    text = f"scopes {scopes or 'none'}; wanted cloud-platform"
    return Finding("cloud token", "wrong", text, fix)


def hub_token() -> Finding:
    """Whether there is a token of the Hugging Face hub, which gated models need."""
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    path = pathlib.Path(home).expanduser() / "token"
    if os.environ.get("HF_TOKEN") or path.exists():
        return Finding("hub token", "fine", "there is one")
    text = "none, which gated models would need: export HF_TOKEN before the run"
    return Finding("hub token", "skipped", text)


def bucket(name: str, limit: float = 120) -> Finding:
    """A file written to the bucket reads back the same, and is removed."""
    if not name:
        return Finding("bucket", "skipped", "none is given: runs stay on this machine")
    url = f"gs://{name}/jaxalign-doctor/{os.uname().nodename}-{os.getpid()}"
    text = f"probe of {os.getpid()}"
    steps = (
        (["cp", "-", url, "--quiet"], text),
        (["cat", url], ""),
        (["rm", url, "--quiet"], ""),
    )
    replies = []
    for words, given in steps:
        command = ["gcloud", "storage", *words]
        try:
            done = subprocess.run(
                command, input=given, capture_output=True, text=True, timeout=limit
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Finding("bucket", "wrong", str(error), "Install gcloud; then again")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            fix = (
                f"Give the VM's account roles/storage.objectAdmin on gs://{name}; "
                "tpu_setup/README.md has the command"
            )
            return Finding("bucket", "wrong", f"{' '.join(command)}: {last}", fix)
        replies.append(done.stdout)
    if replies[1] != text:
        found = f"{url} reads back as {replies[1]!r}"
        return Finding("bucket", "wrong", found, "Give a bucket of your own")
    return Finding("bucket", "fine", f"gs://{name} takes a file and gives it back")
