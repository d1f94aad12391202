"""A real run through `tpu_setup/gpu_local.sh`, on CPUs, stopped and started again."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SETTINGS = """\
model: {model}
data: {data}
batch_size: 8
max_length: 128
samples: 0
row_length: 256
max_steps: 5
"""


@pytest.fixture
def checkout(tmp_path, tiny_model, pairs):
    """A checkout whose .venv is the Python that runs the tests, and a config."""
    (tmp_path / "tpu_setup").symlink_to(ROOT / "tpu_setup")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    smi = tmp_path / "bin/nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\n")
    smi.chmod(0o755)
    text = SETTINGS.format(model=tiny_model, data=pairs)
    (tmp_path / "dpo.yaml").write_text(text)
    return tmp_path


def start(checkout, run, **chaos):
    path = f"{checkout}/bin:{os.environ['PATH']}"
    settings = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    environment = {**os.environ, **settings, "PATH": path, "PYTHONPATH": str(ROOT)}
    command = ["bash", "tpu_setup/gpu_local.sh", "dpo", "dpo.yaml", "--run-id", run]
    done = subprocess.run(
        [*command, "--", "--beta", "0.2"],
        cwd=checkout,
        env=environment | chaos,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    folder = checkout / "jaxalign-runs" / run
    limit = time.monotonic() + 300
    while not (folder / "exit_code").exists():
        assert time.monotonic() < limit, (folder / "run.log").read_text()
        time.sleep(0.2)
    # The keeper lets go of the lock a moment later.
    lock = checkout / "jaxalign-runs/lock"
    subprocess.run(["flock", str(lock), "true"], check=True, timeout=60)
    return folder


@pytest.mark.slow
def test_stopped_and_started_again_equals_the_straight_run(checkout):
    straight = start(checkout, "straight")
    chaos = {"JAXALIGN_CHAOS": "sigterm@step:3", "JAXALIGN_TEST_RUN": "1"}
    stopped = start(checkout, "stopped", **chaos)
    log = (stopped / "run.log").read_text()
    for folder in (straight, stopped):
        assert (folder / "exit_code").read_text() == "0\n", log
    assert not (straight / "restarts").exists()
    assert (stopped / "restarts").read_text() == "1\n"
    assert log.count("Exit code 75, stopped on request: restart 1") == 1
    for name in ("metrics.jsonl", "export/model.safetensors"):
        ours, other = (folder / "out" / name for folder in (stopped, straight))
        assert ours.read_bytes() == other.read_bytes(), name
