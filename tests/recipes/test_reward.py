"""`jaxalign reward` on a tiny model: learns, normalises, exports, resumes, refuses."""

import dataclasses
import json
import signal
import sys
from typing import Any

import jax
import numpy as np
import pytest

from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import UserError
from jaxalign.models import Transformer, load_params, read_config, scalar_scores
from jaxalign.recipes import export, reward, sft
from jaxalign.recipes.flags.command_line import field_names, read_yaml
from jaxalign.recipes.scoring.scorer import load_scorer
from jaxalign.training import OptimizerConfig
from tests.recipes.test_runs import cli

COMMON = {
    "batch_size": 8,
    "max_length": 128,
    "samples": 2,
    "row_length": 256,
    "optimizer": OptimizerConfig(learning_rate=3e-3),
}


def run(tiny_model, data, out, **settings):
    config = reward.Config(
        model=str(tiny_model),
        data=str(data),
        output_dir=str(out),
        **{**COMMON, **settings},
    )
    assert reward.main(config) == 0
    return [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def reward_run(tiny_model, pairs, tmp_path_factory):
    out = tmp_path_factory.mktemp("reward") / "run"
    return out, run(
        tiny_model, pairs, out, eval_fraction=0.25, num_train_epochs=4, eval_steps=50
    )


def test_held_out_pairs_are_told_apart(reward_run):
    _, lines = reward_run
    held_out = [x for x in lines if x["split"] == "eval"]
    train = [x for x in lines if x["split"] == "train"]
    assert held_out[-1]["eval_accuracy"] >= 0.9
    assert held_out[-1]["eval_loss"] < held_out[0]["eval_loss"] - 0.2
    names = {"accuracy", "margin", "mean_reward", "min_reward", "max_reward", "loss"}
    assert names <= train[0].keys()
    assert {f"eval_{x}" for x in names} <= held_out[0].keys()
    assert {"eval_log_loss", "eval_calibration_error"} <= held_out[0].keys()
    # Without margin and centring the loss is the log-loss.
    np.testing.assert_allclose(
        held_out[-1]["eval_log_loss"], held_out[-1]["eval_loss"], rtol=1e-5
    )


def test_the_run_folder_shows_the_scores(reward_run):
    out, lines = reward_run
    assert (out / "plots" / "calibration.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "plots" / "accuracy.png").exists()
    last = max(x["step"] for x in lines)
    rows = (out / "completions" / f"step_{last:06}.jsonl").read_text().splitlines()
    rows = [json.loads(x) for x in rows]
    assert [x["completion"].isupper() for x in rows] == [True, False] * 2
    assert rows[0]["score"] > rows[1]["score"]


def answers_of(tiny_model, pairs):
    """Both answers of every pair as a reader of the file would put them together."""
    tokenizer, out = load_tokenizer(tiny_model), []
    assert tokenizer.template is not None
    for line in pairs.read_text().splitlines():
        row = json.loads(line)
        for side in ("chosen", "rejected"):
            text = tokenizer.template.render(
                [*row["prompt"], *row[side]], add_generation_prompt=False
            )
            ids = tokenizer.encode(text)[0].tolist()
            while ids[-1] not in tokenizer.stop_ids:  # behind the end of turn
                ids.pop()
            out.append(ids)
    return out


def test_the_export_scores_with_mean_zero(reward_run, tiny_model, pairs):
    """The answers it was trained on are the reference; the folder is read anew."""
    out = reward_run[0] / "export"
    config, data = read_config(out), json.loads((out / "config.json").read_text())
    assert data["architectures"] == ["LlamaForSequenceClassification"]
    assert data["score_bias"] == config.score_bias != 0
    sequences = answers_of(tiny_model, pairs)
    scorer = load_scorer(str(out))
    scores = scorer(sequences)
    assert scores.dtype == np.float32
    # All rows, held-out ones too, are near the mean of the three quarters trained on.
    assert abs(scores.mean()) < 0.3 * scores.std()
    assert np.mean(scores[::2] > scores[1::2]) >= 0.9

    model, params = Transformer(config), load_params(out, config)
    alone = jax.jit(lambda p, x, at: scalar_scores(model, p, x, at))
    for i in (0, 1, 7):
        row = np.zeros((1, 128), np.int32)
        row[0, : len(sequences[i])] = sequences[i]
        at = np.array([[len(sequences[i]) - 1]], np.int32)
        np.testing.assert_allclose(alone(params, row, at)[0, 0], scores[i], atol=1e-4)
    shuffled = np.random.default_rng(0).permutation(len(sequences))[:5]
    again = scorer([sequences[i] for i in shuffled])
    # In rows of another shape, whose sums the processor takes in another order.
    np.testing.assert_allclose(again, scores[shuffled], atol=1e-4)
    assert scorer([]).shape == (0,)


def test_the_pad_token_ends_no_answer(reward_run, tiny_model):
    out = reward_run[0] / "export"
    tokenizer = load_tokenizer(out)
    pad = json.loads((out / "config.json").read_text())["pad_token_id"]
    assert pad == tokenizer.pad_id
    assert pad not in tokenizer.stop_ids
    assert load_tokenizer(tiny_model).pad_id in tokenizer.stop_ids
    for name in ("tokenizer.json", "chat_template.jinja"):
        if (tiny_model / name).exists():
            assert (out / name).read_bytes() == (tiny_model / name).read_bytes()


def test_the_command_exports_what_the_run_did_but_for_the_mean(reward_run, tmp_path):
    """With the run's tokens, and scores that differ by one number."""
    own, out = reward_run[0] / "export", tmp_path / "out"
    config = export.Config(run=str(reward_run[0]), output=str(out), head="score")
    assert export.main(config) == 0
    ours, theirs = (json.loads((x / "config.json").read_text()) for x in (own, out))
    assert ours["pad_token_id"] == theirs["pad_token_id"]
    for name in ("tokenizer_config.json", "tokenizer.json"):
        assert (own / name).read_bytes() == (out / name).read_bytes()
    texts = [[1, 2, 3], [4], [9, 8, 7, 6]]
    mine, other = (load_scorer(str(x))(texts) for x in (own, out))
    assert np.ptp(other - mine) < 1e-4


def rows_to(file, rows):
    file.write_text("".join(json.dumps(x) + "\n" for x in rows))
    return file


def plain_rows(pairs):
    for line in pairs.read_text().splitlines():
        row = json.loads(line)
        yield [row[x][0]["content"] for x in ("prompt", "chosen", "rejected")]


def test_ranked_lists_of_unequal_length(tiny_model, pairs, tmp_path):
    rows = [
        {
            "prompt": p,
            "completions": [" " + r, " " + c + "!", *([" " + c] if i % 2 else [])],
            "ranks": [2, 0, *([1] if i % 2 else [])],
        }
        for i, (p, c, r) in enumerate(plain_rows(pairs))
    ]
    file = rows_to(tmp_path / "ranked.jsonl", rows)
    lines = run(
        tiny_model,
        file,
        tmp_path / "run",
        loss="plackett_luce",
        eval_fraction=0.25,
        num_train_epochs=3,
        normalize="variance",
    )
    held_out = [x for x in lines if x["split"] == "eval"]
    assert held_out[-1]["eval_loss"] < held_out[0]["eval_loss"]
    config = read_config(tmp_path / "run" / "export")
    assert config.head == "score"
    rows[3]["ranks"] = [0, 1, 1]
    tied = rows_to(tmp_path / "tied.jsonl", rows)
    with pytest.raises(UserError, match=r":4: two completions .* --loss kwise"):
        run(tiny_model, tied, tmp_path / "x", loss="plackett_luce", dry_run=True)
    ready = reward.Config(
        model=str(tiny_model),
        data=str(tied),
        output_dir=str(tmp_path / "kwise"),
        loss="kwise",
        dry_run=True,
        **COMMON,
    )
    assert reward.main(ready) == 0


def test_a_dry_run_knows_where_no_run_can_be(tiny_model, pairs):
    file = pairs / "run"
    with pytest.raises(UserError, match=f"{file} cannot be made: {pairs} is no folder"):
        # Data are not looked for, which may take long.
        run(tiny_model, "no data", file, dry_run=True)


@pytest.mark.slow
def test_tied_lists_are_trained_on(tiny_model, pairs, tmp_path):
    rows = [
        {"prompt": p, "completions": [" " + r, " " + c, f" {c}!"], "ranks": [1, 0, 1]}
        for p, c, r in plain_rows(pairs)
    ]
    tied = rows_to(tmp_path / "tied.jsonl", rows)
    options = {"loss": "kwise", "max_steps": 1, "export": False}
    assert run(tiny_model, tied, tmp_path / "run", **options)[0]["loss"] > 0


@pytest.mark.slow
def test_regression_to_scores(tiny_model, pairs, tmp_path):
    rows = [
        {"prompt": p, "completion": f" {text}", "score": mark}
        for p, c, r in plain_rows(pairs)
        for text, mark in ((c, 1.5), (r, -0.5))
    ]
    file = rows_to(tmp_path / "scored.jsonl", rows)
    lines = run(
        tiny_model,
        file,
        tmp_path / "run",
        loss="regression",
        eval_fraction=0.25,
        num_train_epochs=3,
        normalize="none",
    )
    held_out = [x for x in lines if x["split"] == "eval"]
    assert held_out[-1]["eval_loss"] < 0.5 < held_out[0]["eval_loss"]
    assert "eval_calibration_error" not in held_out[0]
    assert read_config(tmp_path / "run" / "export").score_bias == 0


@pytest.mark.slow
def test_margins_are_read(tiny_model, pairs, tmp_path):
    rows = [json.loads(x) for x in pairs.read_text().splitlines()]
    file = rows_to(tmp_path / "m.jsonl", [{**x, "margin": 2.0} for x in rows])
    options = {"max_steps": 1, "export": False, "samples": 0}
    plain = run(tiny_model, pairs, tmp_path / "a", **options)[0]
    wide = run(tiny_model, file, tmp_path / "b", **options)[0]
    off = run(tiny_model, file, tmp_path / "c", margin_scale=0.0, **options)[0]
    assert wide["margin"] == plain["margin"]
    assert wide["loss"] > plain["loss"] + 1
    assert off["loss"] == plain["loss"]
    rows_to(file, [{**x, "margin": -1.0} for x in rows])
    with pytest.raises(UserError, match="m.jsonl:1: `margin` is -1"):
        run(tiny_model, file, tmp_path / "d", dry_run=True)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"packing": False, "row_length": None}, marks=pytest.mark.slow),
        pytest.param({"parallel": "pmap"}, marks=pytest.mark.slow),
    ],
    ids=["unpacked", "pmap"],
)
def test_every_layout_gives_the_same_run(
    reward_run, tiny_model, pairs, tmp_path, settings
):
    options = {"eval_fraction": 0.25, "max_steps": 2, "export": False}
    lines = run(tiny_model, pairs, tmp_path / "run", **options, **settings)
    lines = [x for x in lines if x["step"] in (1, 2) and x["split"] == "train"]
    for got, expected in zip(
        lines, (x for x in reward_run[1] if x["split"] == "train"), strict=False
    ):
        for name in ("loss", "accuracy", "margin", "mean_reward", "grad_norm"):
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-3, atol=1e-5)


def test_a_reward_model_is_trained_on(reward_run, pairs, tmp_path):
    export = reward_run[0] / "export"
    lines = run(export, pairs, tmp_path / "run", max_steps=1)
    assert lines[0]["accuracy"] >= 0.8
    old, new = (read_config(x) for x in (export, tmp_path / "run" / "export"))
    assert dataclasses.replace(old, score_bias=new.score_bias) == new
    # It was trained on all rows, so that their scores have mean 0 to the last digit.
    scores = load_scorer(str(tmp_path / "run" / "export"))(answers_of(export, pairs))
    assert abs(scores.mean()) < 1e-5 < scores.std()


def test_models_are_not_taken_for_one_another(reward_run, tiny_model, pairs, tmp_path):
    from jaxalign.recipes import dpo

    with pytest.raises(UserError, match="is a reward model: it scores text"):
        dpo.main(
            dpo.Config(
                model=str(reward_run[0] / "export"),
                data=str(pairs),
                output_dir=str(tmp_path / "x"),
            )
        )
    with pytest.raises(UserError, match="is a language model: it gives no scores"):
        load_scorer(str(tiny_model))
    scorer = load_scorer(str(reward_run[0] / "export"))
    with pytest.raises(UserError, match="Sequence 1 has 0 tokens"):
        scorer([[1], []])
    for ids, wrong in (([260], 260), ([7, -1, 9], -1)):
        with pytest.raises(UserError, match=f"Sequence 0 holds the id {wrong};"):
            scorer([ids])


@pytest.mark.slow
def test_killed_and_resumed_equals_the_straight_run(tiny_model, pairs, tmp_path):
    def command(out):
        return [
            *("-m", "jaxalign", "reward", "--model", tiny_model, "--data", pairs),
            *("--output-dir", out, "--batch-size", "8", "--max-length", "128"),
            *("--save-steps", "2", "--max-steps", "4", "--row-length", "256"),
            *("--eval-fraction", "0.25"),
        ]

    straight, killed = tmp_path / "straight", tmp_path / "killed"
    done = cli([sys.executable, *command(straight)])
    assert done.returncode == 0, done.stderr
    chaos = {"JAXALIGN_CHAOS": "kill@step:3", "JAXALIGN_TEST_RUN": "1"}
    died = cli([sys.executable, *command(killed)], **chaos)
    assert died.returncode == -signal.SIGKILL, died.stderr
    resumed = cli([sys.executable, *command(killed)])
    assert resumed.returncode == 0, resumed.stderr
    for name in ("metrics.jsonl", "export/model.safetensors", "export/config.json"):
        assert (killed / name).read_bytes() == (straight / name).read_bytes(), name


def test_settings_that_mean_nothing_are_refused():
    paths: Any = {"model": "m", "data": "d", "output_dir": "o"}
    changes: Any
    for changes in ({"center": -1.0}, {"margin_scale": -0.1}, {"normalize_rows": 0}):
        with pytest.raises(UserError, match=next(iter(changes))):
            reward.Config(**paths, **changes)
    assert dataclasses.asdict(reward.Config(**paths))["loss"] == "bradley_terry"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "kwise", "center": 0.01}, "^center 0.01 counts only .* kwise has no"),
        ({"loss": "regression", "margin_scale": 0.0}, "^margin_scale 0 counts only"),
        ({"normalize": "none", "normalize_data": "a.jsonl"}, "^normalize_data a.jsonl"),
    ],
)
def test_settings_that_nothing_reads_are_refused(changes, message):
    paths: Any = {"model": "m", "data": "d", "output_dir": "o"}
    with pytest.raises(UserError, match=message):
        reward.Config(**paths, **changes)
    del changes["loss" if "loss" in changes else "normalize"]
    assert reward.Config(**paths, **changes)


def test_what_writes_nothing_has_no_longest_completion(tmp_path):
    names = {x: field_names(x.Config) for x in (reward, sft)}
    assert [x for x in names if "max_new_tokens" in names[x]] == [sft]
    file = tmp_path / "run.yaml"
    file.write_text("max_new_tokens: 8\n")
    with pytest.raises(UserError, match="unknown key `max_new_tokens`"):
        read_yaml(file, names[reward])
