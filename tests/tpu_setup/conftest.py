"""The scripts, run for real against a cloud that is a folder."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

SETUP = pathlib.Path(__file__).parents[2] / "tpu_setup"
AT = ["--project=proj", "--zone=us-west4-a"]
LABELS = {"managed-by": "jaxalign"}
LISTS = [
    ["compute", "tpus", "queued-resources", "list", *AT, "--format=json"],
    ["compute", "tpus", "tpu-vm", "list", *AT, "--format=json"],
]
SETTINGS = """\
PROJECT=proj
ZONE=us-west4-a
TPU_NAME=box
ACCEL=v5litepod-8
CAPACITY=spot
BUCKET=gs://buck/
"""


class Cloud:
    """A folder that plays the cloud, and the settings that name it."""

    def __init__(self, root: pathlib.Path):
        self.root, self.home, self.bin = root, root / "home", root / "bin"
        self.home.mkdir()
        self.bin.mkdir()
        self.env_file = root / "tpu.env"
        self.env_file.write_text(SETTINGS)
        self.state = {"queued": {}, "nodes": {}, "script": ["ACTIVE"]}
        fake = pathlib.Path(__file__).with_name("fake_gcloud.py").read_text()
        self.program("gcloud", f"#!{sys.executable} -IS\n{fake}")

    def program(self, name: str, text: str) -> None:
        """Puts a program in front of the PATH."""
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def add_queued(self, name, now, *, labels=LABELS, accelerator="v5litepod-8"):
        queued = {"now": now, "script": [], "labels": labels}
        self.state = self.state | {
            "queued": {name: queued | {"accelerator": accelerator}}
        }

    def add_node(self, name, *, state="READY", labels=LABELS, accel="v5litepod-8"):
        kind = f"projects/p/locations/z/acceleratorTypes/{accel}"
        made = {"name": f"projects/p/locations/z/nodes/{name}", "state": state}
        made |= {"acceleratorType": kind, "labels": labels}
        made["createTime"] = "2026-01-01T00:00:00Z"
        self.state = self.state | {"nodes": {name: made}}

    @property
    def state(self):
        return json.loads((self.root / "state.json").read_text())

    @state.setter
    def state(self, state):
        (self.root / "state.json").write_text(json.dumps(state))

    @property
    def calls(self) -> list[list[str]]:
        """What gcloud was called with, so far."""
        path = self.root / "log.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.bin}:{os.environ['PATH']}"
        return {
            "PATH": path,
            "HOME": str(self.home),
            "FAKE_CLOUD": str(self.root),
            "RETRY_SECONDS": "0",
        }

    def bash(self, command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A line of shell in the repository's root."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=SETUP.parent,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def run(self, script: str, *words: str, **more: str):
        """One of the scripts, with the settings of this cloud."""
        return subprocess.run(
            ["bash", str(SETUP / script), "--env", str(self.env_file), *words],
            cwd=self.root,
            env=self.environment | more,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def cloud(tmp_path) -> Cloud:
    return Cloud(tmp_path)
