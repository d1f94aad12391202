"""`jaxalign dpo --loss` with losses that remember: logged, resumed and exported."""

import functools
import json
import shutil
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxalign.recipes import dpo, export
from jaxalign.training import OptimizerConfig


def run(tiny_model, pairs, out, loss, **settings):
    """Four updates; from the log the lines of training and of evaluations."""
    config: Any = dpo.config_class(["--loss", loss])
    config = config(
        model=str(tiny_model),
        data=str(pairs),
        output_dir=str(out),
        beta=0.5,
        max_steps=4,
        batch_size=8,
        eval_fraction=0.2,
        eval_steps=2,
        save_steps=2,
        keep_last=3,
        max_length=128,
        samples=0,
        optimizer=OptimizerConfig(learning_rate=1e-2),
        **{"export": False, **settings},
    )
    assert dpo.main(config) == 0
    lines = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    train, held_out = ([x for x in lines if x["split"] == s] for s in ("train", "eval"))
    return train, {x["step"]: x for x in held_out}


@pytest.fixture(scope="module")
def runs(tiny_model, pairs, tmp_path_factory):
    """By the name of its loss the folder and the log of a run, made when asked for."""
    folder = tmp_path_factory.mktemp("running")

    @functools.cache
    def of(loss):
        return folder / loss, *run(tiny_model, pairs, folder / loss, loss)

    return of


def test_the_shift_is_the_mean_of_all_rewards_so_far(runs):
    _, train, held_out = runs("bco_loss")
    both = [(x["rewards/chosen"] + x["rewards/rejected"]) / 2 for x in train]
    means = [np.mean(both[: n + 1]) for n in range(len(both))]
    np.testing.assert_allclose([x["delta"] for x in train], means, atol=1e-5)
    assert abs(means[-1]) > 0.01
    assert train[0]["loss"] == pytest.approx(2 * np.log(2), abs=1e-4)
    # Evaluations read it and do not add to it.
    found = [held_out[n]["eval_delta"] for n in (0, 2, 4)]
    np.testing.assert_allclose(found, np.array([0, means[1], means[3]]), atol=1e-5)


@pytest.mark.slow
def test_beta_follows_the_usual_margin(runs):
    _, train, held_out = runs("beta_dpo_loss")
    usual, after = 0.0, {0: 0.0}
    for n, line in enumerate(train):
        margin = line["rewards/margins"]
        usual = 0.9 * usual + 0.1 * margin
        after[n + 1] = usual
        expected = 0.5 * (1 + 0.6 * (margin - usual))
        assert line["beta"] == pytest.approx(expected, abs=1e-5)
    assert train[-1]["beta"] - 0.5 > 1e-3
    for step, line in held_out.items():
        expected = 0.5 * (1 + 0.6 * (line["eval_rewards/margins"] - after[step]))
        assert line["eval_beta"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        ("bco_loss", {"parallel": "pmap"}),
        ("bco_loss", {"microbatch_size": 1}),
        ("beta_dpo_loss", {"parallel": "pmap", "microbatch_size": 1}),
    ],
)
def test_every_layout_remembers_the_same(
    runs, tiny_model, pairs, tmp_path, loss, settings
):
    train, held_out = run(tiny_model, pairs, tmp_path / "run", loss, **settings)
    name = {"bco_loss": "delta", "beta_dpo_loss": "beta"}[loss]
    for got, expected in zip(train, runs(loss)[1], strict=True):
        for x in ("loss", name):
            np.testing.assert_allclose(got[x], expected[x], rtol=1e-3, atol=2e-5)
    for step, line in held_out.items():
        expected = runs(loss)[2][step]["eval_loss"]
        np.testing.assert_allclose(line["eval_loss"], expected, rtol=1e-3)


@pytest.mark.parametrize(
    "loss", ["bco_loss", pytest.param("beta_dpo_loss", marks=pytest.mark.slow)]
)
def test_a_resumed_run_remembers(runs, tiny_model, pairs, tmp_path, loss):
    """From the checkpoint in the middle on, to the same bits."""
    straight, again = runs(loss)[0], tmp_path / "run"
    shutil.copytree(straight, again)
    run(tiny_model, pairs, again, loss, resume="2")
    assert (again / "metrics.jsonl").read_bytes() == (
        straight / "metrics.jsonl"
    ).read_bytes()
    leaves = [
        json.loads((x / "checkpoints" / "4" / "MANIFEST.json").read_text())["leaves"]
        for x in (straight, again)
    ]
    assert leaves[0] == leaves[1]
    names = {"carry/total", "carry/weight"} if loss == "bco_loss" else {"carry"}
    assert {x for x in leaves[0] if x.startswith("carry")} == names


@pytest.mark.slow
def test_a_checkpoint_that_remembers_is_exported(runs, tmp_path):
    folder, out = runs("bco_loss")[0], tmp_path / "export"
    assert export.main(export.Config(run=str(folder), output=str(out))) == 0
    assert load_file(out / "model.safetensors")
