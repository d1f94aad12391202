"""`jaxalign kto` from the command line to its folder."""

import json

import numpy as np
import pytest

from jaxalign.__main__ import main
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError
from jaxalign.recipes import kto
from jaxalign.recipes.inputs.rows import Rows


def command(tiny_model, data, out, *more):
    return [
        *("kto", "--model", str(tiny_model), "--data", str(data)),
        *("--output-dir", str(out), "--max-length", "128", "--samples", "0"),
        *("--optimizer.learning-rate", "1e-3", *more),
    ]


def test_pairs_are_split_and_learnt_from(tiny_model, pairs, tmp_path, capsys):
    out = tmp_path / "run"
    argv = command(tiny_model, pairs, out, "--batch-size", "16", "--max-steps", "3")
    with pytest.raises(SystemExit) as end:
        main([*argv, "--microbatch-size", "1", "--no-export"])
    assert end.value.code == 0
    assert "40 desirable and 40 undesirable rows" in capsys.readouterr().out
    lines = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    train = [x for x in lines if x["split"] == "train"]
    assert train[0]["loss"] == pytest.approx(0.5, abs=1e-6)
    assert train[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert train[-1]["loss"] < 0.5 - 1e-3
    assert all(x["kl"] >= 0 for x in train)
    sides = ("rewards", "logps", "logits")
    names = {f"{x}/{side}" for x in sides for side in ("chosen", "rejected")}
    assert names | {"loss", "kl", "grad_norm"} <= train[0].keys()
    assert len(list((out / "cache").glob("ref_logps_train_*"))) == 1


def test_labels_out_of_balance_are_told(tiny_model, tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    rows = [
        {"prompt": f"{i} + 1 =", "completion": f" {i + 1}", "label": i < 3}
        for i in range(12)
    ]
    data.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(SystemExit) as end:
        main(command(tiny_model, data, tmp_path / "run", "--dry-run"))
    assert end.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "3 desirable and 9 undesirable rows" in shown
    assert "--desirable-weight 3 to 4.5" in shown


@pytest.mark.parametrize(
    ("setting", "message"),
    [({"beta": 0.0}, "beta must be"), ({"desirable_weight": -1.0}, "desirable_weight")],
)
def test_settings_that_mean_nothing(setting, message):
    with pytest.raises(UserError, match=message):
        kto.Config(model="m", data="d", output_dir="o", **setting)


def test_a_prompt_with_the_completion_of_another_fits_into_the_model():
    def row(prompt, completion):
        trained = np.arange(prompt + completion) >= prompt
        ids = np.full(len(trained), prompt, np.int32)
        labels = {"desirable": np.ones(1, np.float32)}
        return Example(prompt, (TokenSequence(ids, trained),), labels)

    config = kto.Config(model="m", data="d", output_dir="o", max_length=1024)
    rows = Rows([row(200, 8), row(8, 200)], [], {})
    mixed = kto.mismatched(config, rows, 256).train
    assert [len(x.sequences[1].ids) for x in mixed] == [256, 16]
