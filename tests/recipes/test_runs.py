"""Whole runs of the recipes on a tiny model: what they promise, seen from outside."""

import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxalign.errors import UserError
from jaxalign.recipes import dpo, sft
from jaxalign.recipes.scoring import reference
from jaxalign.training import OptimizerConfig

COMMON = {
    "batch_size": 8,
    "max_length": 128,
    "samples": 0,
    "row_length": 256,
    "optimizer": OptimizerConfig(learning_rate=1e-3),
}


def run(recipe, tiny_model, pairs, out, **settings):
    settings = {**COMMON, **settings}
    config = recipe.Config(
        model=str(tiny_model), data=str(pairs), output_dir=str(out), **settings
    )
    assert recipe.main(config) == 0
    return [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]


def weights(out):
    return load_file(out / "export" / "model.safetensors")


@pytest.fixture(scope="module")
def dpo_run(tiny_model, pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("dpo") / "run"
    return out, run(dpo, tiny_model, pairs, out, eval_fraction=0.2, max_steps=3)


def test_dpo_starts_at_log_2_and_learns(dpo_run):
    """Fault 17: at step 0 the reference is not the policy."""
    _, lines = dpo_run
    train = [x for x in lines if x["split"] == "train"]
    held_out = [x for x in lines if x["split"] == "eval"]
    assert abs(train[0]["loss"] - math.log(2)) < 1e-6
    assert abs(held_out[0]["eval_loss"] - math.log(2)) < 1e-6
    assert held_out[-1]["eval_loss"] < held_out[0]["eval_loss"] - 1e-3
    assert [x["step"] for x in train] == [1, 2, 3]


def test_dpo_logs_the_names_that_users_know(dpo_run):
    """Fault 26: of each quantity both sides."""
    train = next(x for x in dpo_run[1] if x["split"] == "train")
    sides = ("rewards", "logps", "logits")
    names = {f"{x}/{side}" for x in sides for side in ("chosen", "rejected")}
    names |= {"rewards/margins", "rewards/accuracies", "loss", "grad_norm", "epoch"}
    assert names | {"learning_rate", "num_tokens", "data/pad_fraction"} <= train.keys()


def test_the_run_folder_is_whole(dpo_run):
    out, _ = dpo_run
    kept = {x.name for x in out.iterdir()}
    expected = "config.json versions.json run.json metrics.jsonl timing.jsonl README.md"
    assert {*expected.split(), "checkpoints", "plots", "cache", "export"} <= kept
    assert (out / "plots" / "reward.png").read_bytes()[:4] == b"\x89PNG"


def test_runs_share_through_a_link_what_the_reference_says(
    dpo_run, tiny_model, pairs, tmp_path, monkeypatch
):
    other, lines = dpo_run
    out = tmp_path / "run"
    out.mkdir()
    (out / "cache").symlink_to(other / "cache")

    def score(*args):
        raise AssertionError("the reference was asked again")

    monkeypatch.setattr(reference, "score_each", lambda *args: map(score, args[2]))
    settings = {"eval_fraction": 0.2, "max_steps": 3, "export": False}
    again = run(dpo, tiny_model, pairs, out, beta=0.3, **settings)
    first, last = (x for x in again if x["split"] == "train" and x["step"] in (1, 3))
    assert abs(first["loss"] - math.log(2)) < 1e-6
    assert last["loss"] != next(
        x["loss"] for x in lines if x["split"] == "train" and x["step"] == 3
    )


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"packing": False, "row_length": None}, marks=pytest.mark.slow),
        {"parallel": "pmap"},
        pytest.param({"ref": "online"}, marks=pytest.mark.slow),
        pytest.param({"mesh": {"fsdp": 4, "tensor": 2}}, marks=pytest.mark.slow),
        pytest.param({"microbatch_size": 1, "row_length": 128}, marks=pytest.mark.slow),
    ],
    ids=["unpacked", "pmap", "online reference", "fsdp x tensor", "microbatches"],
)
def test_every_layout_gives_the_same_updates(
    dpo_run, tiny_model, pairs, tmp_path, settings
):
    from jaxalign.recipes.flags.config import MeshConfig

    if "mesh" in settings:
        settings = {"mesh": MeshConfig(**settings["mesh"])}
    lines = run(
        dpo,
        tiny_model,
        pairs,
        tmp_path / "run",
        eval_fraction=0.2,
        max_steps=3,
        **settings,
    )
    for got, expected in zip(lines, dpo_run[1], strict=True):
        for name in expected.keys() - {"split", "num_tokens", "data/pad_fraction"}:
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-3, atol=2e-5)


def test_sft_learns_and_its_export_is_a_model(tiny_model, pairs, tmp_path):
    rows = [json.loads(x) for x in pairs.read_text().splitlines()]
    file = tmp_path / "sft.jsonl"
    file.write_text(
        "\n".join(json.dumps({"messages": r["prompt"] + r["chosen"]}) for r in rows)
    )
    out = tmp_path / "run"
    lines = run(sft, tiny_model, file, out, num_train_epochs=2, z_loss=1e-4)
    losses = [x["loss"] for x in lines if x["split"] == "train"]
    assert losses[-1] < losses[0] - 0.05
    assert "mean_token_accuracy" in lines[-1]
    before = load_file(tiny_model / "model.safetensors")
    after = weights(out)
    assert after.keys() == before.keys()
    assert any(np.any(after[k] != before[k]) for k in after)
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        assert (out / "export" / name).read_bytes() == (tiny_model / name).read_bytes()


def test_a_dry_run_writes_nothing(tiny_model, pairs, tmp_path):
    out = tmp_path / "run"
    config = dpo.Config(
        model=str(tiny_model), data=str(pairs), output_dir=str(out), dry_run=True
    )
    assert dpo.main(config) == 0
    assert not out.exists()


def command(tiny_model, pairs, out):
    """The run of `dpo_run`, with checkpoints."""
    return [
        *(sys.executable, "-m", "jaxalign", "dpo", "--model", tiny_model),
        *("--data", pairs, "--output-dir", out, "--batch-size", "8"),
        *("--max-length", "128", "--samples", "0", "--save-steps", "1"),
        *("--max-steps", "3", "--row-length", "256", "--eval-fraction", "0.2"),
        *("--optimizer.learning-rate", "1e-3"),
    ]


def cli(argv, **environment):
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "8",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    env = {**os.environ, **settings, **environment}
    return subprocess.run(
        [str(x) for x in argv], env=env, capture_output=True, text=True, check=False
    )


def test_killed_and_resumed_equals_the_straight_run(
    dpo_run, tiny_model, pairs, tmp_path
):
    straight, killed = dpo_run[0], tmp_path / "killed"
    chaos = {"JAXALIGN_CHAOS": "kill@step:3", "JAXALIGN_TEST_RUN": "1"}
    died = cli(command(tiny_model, pairs, killed), **chaos)
    assert died.returncode == -signal.SIGKILL, died.stderr
    resumed = cli(command(tiny_model, pairs, killed))
    assert resumed.returncode == 0, resumed.stderr
    for name in ("metrics.jsonl", "export/model.safetensors"):
        assert (killed / name).read_bytes() == (straight / name).read_bytes(), name
    starts = json.loads((killed / "run.json").read_text())["starts"]
    assert starts[0]["start_step"] == 0
    assert starts[1]["start_step"] in (1, 2)


def test_another_setting_at_resume_is_refused_by_name(
    dpo_run, tiny_model, pairs, tmp_path
):
    out, _ = dpo_run
    with pytest.raises(UserError, match=r"beta was 0.1, is 0.2"):
        run(dpo, tiny_model, pairs, out, eval_fraction=0.2, max_steps=3, beta=0.2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "nowhere"], "nowhere"),
        (["--beta", "0"], "beta must be in (0, inf), got 0"),
        (["--mesh.tensor", "3"], "mesh"),
        (["--chat-template", "none.jinja"], "none.jinja"),
        (["--columns", "prompt=question"], "no column `question`"),
        (["--data", "absent.jsonl"], "absent.jsonl"),
        (["--max-length", "8"], "too long"),
    ],
)
def test_mistakes_end_with_one_paragraph(
    tiny_model, pairs, tmp_path, flags, message, capsys
):
    from jaxalign.__main__ import main

    argv = ["--model", tiny_model, "--data", pairs, "--output-dir", tmp_path / "run"]
    with pytest.raises(SystemExit) as end:
        main(["dpo", *map(str, argv), *flags])
    assert end.value.code == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "Traceback" not in error
    assert "\n\n" not in error
