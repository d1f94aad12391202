"""Runs on several devices are the run on one: the same answers and the same updates."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from jaxalign.__main__ import main
from tests.recipes.rl.test_rl_runs import answers_of, lines_of

ROOT = pathlib.Path(__file__).parents[3]
METHODS = {
    "grpo": ["--num-generations", "2", "--num-iterations", "2"],
    "ppo": ["--num-generations", "2", "--num-ppo-epochs", "2"],
}
WAYS = {
    "pmap": ["--parallel", "pmap"],
    "data": ["--mesh.data", "8", "--mesh.fsdp", "1"],
    "data and fsdp": ["--mesh.data", "2", "--mesh.fsdp", "4"],
    "fsdp and tensor": ["--mesh.fsdp", "4", "--mesh.tensor", "2"],
}
# What differs by rounding alone.
SAME = (
    *("reward", "loss", "grad_norm", "entropy", "policy/entropy_avg", "loss/value_avg"),
    *("objective/kl", "objective/scores", "completions/mean_length", "val/ratio"),
)


def flags(method, model, prompts, reward_file, out):
    given = {
        "model": model,
        "data": prompts,
        "reward": f"{reward_file}:even",
        "conversational": "no",
        "max-new-tokens": 4,
        "batch-size": 8,
        "max-steps": 2,
        "kl-coef": 0.05,
        # Adam with a large epsilon is gradient descent, which sees a wrong scale.
        "optimizer.learning-rate": 1.0,
        "optimizer.eps": 0.9,
        "optimizer.schedule": "constant",
        "output-dir": out,
    }
    texts = [x for k, v in given.items() for x in (f"--{k}", str(v))]
    return [method, *texts, *METHODS[method], "--no-export"]


@pytest.fixture(scope="module")
def alone(tiny_model, prompts, reward_file, tmp_path_factory):
    """From a method to the folder of its run, in a process with one device."""
    folder = tmp_path_factory.mktemp("alone")

    def run(method):
        out = folder / method
        if not out.exists():
            environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
            done = subprocess.run(
                [sys.executable, "-m", "jaxalign"]
                + flags(method, tiny_model, prompts, reward_file, out),
                cwd=ROOT,
                env=environment | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        return out

    return run


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
def test_eight_devices_do_what_one_does(
    method, way, alone, tiny_model, prompts, reward_file, tmp_path
):
    out = tmp_path / "run"
    given = flags(method, tiny_model, prompts, reward_file, out)
    with pytest.raises(SystemExit) as ended:
        main([*given, *WAYS[way]])
    assert ended.value.code == 0
    one = alone(method)
    versions = (json.loads((x / "versions.json").read_text()) for x in (out, one))
    assert [x["devices"]["count"] for x in versions] == [8, 1]
    for got, expected in zip(lines_of(out), lines_of(one), strict=True):
        names = [x for x in SAME if x in expected]
        assert len(names) >= 8
        for name in names:
            np.testing.assert_allclose(
                got[name], expected[name], rtol=2e-3, atol=2e-5, err_msg=name
            )
    for step in (1, 2):
        ours, theirs = answers_of(out, step), answers_of(one, step)
        pairs = zip(ours, theirs, strict=True)
        same = [a["completion"] == b["completion"] for a, b in pairs]
        assert np.mean(same) > 0.9
