"""`jaxalign dpo --loss NAME`: flags from signatures, and runs of other losses."""

import inspect
import json
from typing import Any

import numpy as np
import pytest

from jaxalign import losses
from jaxalign.data.packing.batches import Batches
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError
from jaxalign.objectives import array_names
from jaxalign.recipes import dpo
from jaxalign.recipes.dpo import KINDS
from jaxalign.recipes.flags.command_line import field_names, parse_command
from jaxalign.recipes.flags.config import MeshConfig
from jaxalign.recipes.flags.keyword_flags import arguments, hyperparameters
from jaxalign.recipes.flags.loss_flags import find_loss, losses_on, pairwise_losses
from jaxalign.recipes.scoring import ref_logps
from jaxalign.training import OptimizerConfig

PATHS = ["--model", "m", "--data", "d", "--output-dir", "o"]


def parsed(*argv) -> Any:
    argv = [*PATHS, *argv]
    return parse_command(dpo.config_class(argv), argv, prog="jaxalign dpo")


GIVEN = {"kl", "log_sum_squares", "reward_gap", "win_rate"}
GIVEN |= {"delta", "mean_margin", "usual_margin"}


def needs(name):
    """Required arguments that rows do not give anyway, and whether they are pairs."""
    parameters = inspect.signature(getattr(losses, name)).parameters.values()
    needed = [p for p in parameters if p.default is p.empty]
    names = [p.name for p in needed if p.name not in GIVEN]
    return names, "Pair" in str(needed[0].annotation)


def test_every_loss_is_offered_whose_arrays_are_at_hand():
    answers = ["policy", "ref", "mask"]
    for name in losses.__all__:
        if not name.endswith("_loss"):
            continue
        names, pairs = needs(name)
        offered = [
            pairs and names in (answers, ["policy", "mask"]),
            not pairs and names in (answers, [*answers, "rewards"]),
            not pairs and names == [*answers, "desirable"],
        ]
        assert [name in losses_on(kind) for kind in KINDS] == offered, name
    assert len(pairwise_losses()) > 25


@pytest.mark.parametrize("name", [x for kind in KINDS for x in losses_on(kind)])
def test_keywords_are_flags_with_the_function_s_defaults(name):
    config = parsed("--loss", name)
    assert config.loss == name
    assert config.keywords == hyperparameters(find_loss(name))
    flags = field_names(type(config))
    assert set(config.keywords) <= flags.keys()
    assert all(arguments(find_loss(name))[x] for x in config.keywords)
    for keyword, default in config.keywords.items():
        value = default * 0.5
        got = parsed("--loss", name, f"--{keyword.replace('_', '-')}", str(value))
        assert got.keywords[keyword] == value


def test_the_default_is_dpo():
    assert parsed("--label-smoothing", "0.2").keywords == {
        "beta": 0.1,
        "label_smoothing": 0.2,
    }


def test_the_loss_may_stand_in_a_file_and_a_flag_wins(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("loss: simpo_loss\ngamma: 0.7\n")
    got = parsed("--config", str(file))
    assert got.keywords == {
        "beta": 2.0,
        "gamma": 0.7,
        "label_smoothing": 0.0,
    }
    with pytest.raises(UserError, match="unknown key `gamma`"):
        parsed("--config", str(file), "--loss", "ipo_loss")


def test_help_shows_the_keywords_of_the_loss(capsys):
    with pytest.raises(SystemExit):
        parsed("--loss", "dpop_loss", "--help")
    shown = capsys.readouterr().out
    assert "--penalty" in shown
    assert "price of a chosen response" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--loss", "ipo_los"], "Did you mean `ipo_loss`"),
        (["--loss", "rebel_loss"], "reads .policy, ref, mask, rewards."),
        (["--loss", "kto_loss"], "desirable"),
    ],
)
def test_a_loss_that_is_not_offered(argv, message):
    with pytest.raises(UserError, match=message):
        parsed(*argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["ipo_loss", "--tau", "0"], "tau must be in (0, inf), got 0"),
        (["ld_dpo_loss", "--alpha", "2"], "alpha must be in [0, 1], got 2"),
    ],
)
def test_a_value_out_of_range_is_refused_in_the_loss_s_words(argv, message, capsys):
    with pytest.raises(SystemExit) as end:
        parsed("--loss", *argv)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_a_keyword_of_another_loss_is_refused(capsys):
    with pytest.raises(SystemExit) as end:
        parsed("--loss", "ipo_loss", "--beta", "0.1")
    assert end.value.code == 2
    assert "--beta" in capsys.readouterr().err


def run(tiny_model, pairs, out, loss, **settings):
    config: Any = dpo.config_class(["--loss", loss])
    settings = {"max_steps": 2, "batch_size": 8, "microbatch_size": 8, **settings}
    config = config(
        model=str(tiny_model),
        data=str(pairs),
        output_dir=str(out),
        max_length=128,
        samples=0,
        export=False,
        optimizer=OptimizerConfig(learning_rate=1e-3),
        **settings,
    )
    assert dpo.main(config) == 0
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(x) for x in lines]


def test_a_reference_free_loss_scores_no_reference(
    tiny_model, pairs, tmp_path, monkeypatch
):
    def refuse(run):
        raise AssertionError("the reference was scored")

    monkeypatch.setattr(ref_logps, "_scorer", refuse)
    free = {x for x in pairwise_losses() if "ref" not in array_names(find_loss(x))}
    assert {"orpo_loss", "simpo_loss", "cpo_loss", "cpo_simpo_loss"} <= free
    lines = run(tiny_model, pairs, tmp_path / "run", "orpo_loss", odds_weight=0.5)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert {"nll_loss", "log_odds_ratio", "log_odds_chosen"} <= lines[0].keys()
    assert not (tmp_path / "run" / "cache").exists()
    kept = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (kept["loss"], kept["odds_weight"]) == ("orpo_loss", 0.5)


@pytest.mark.slow
def test_a_batch_coupled_loss_is_exact_on_a_mesh_of_devices(
    tiny_model, pairs, tmp_path
):
    """Eight devices share the rows of one batch, which is sorted as a whole."""
    lines = run(tiny_model, pairs, tmp_path / "run", "aot_pair_loss")
    np.testing.assert_allclose(lines[0]["loss"], np.log(2), rtol=1e-6)
    one = run(
        tiny_model,
        pairs,
        tmp_path / "one",
        "aot_pair_loss",
        mesh=MeshConfig(fsdp=1, tensor=8),
    )
    np.testing.assert_allclose(lines[1]["loss"], one[1]["loss"], rtol=1e-5)


ONE_ROW = {
    "batch_size": 40,
    "microbatch_size": 1,
    "row_length": 8192,
    "mesh": MeshConfig(fsdp=1, tensor=8),
}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 40, "microbatch_size": 1, "packing": False}, "of 40 rows"),
        ({"parallel": "pmap"}, "under pmap each of 8"),
        # An update is one long row, and an evaluation several short ones.
        ({**ONE_ROW, "eval_data": "the pairs"}, r"one of \d+ rows"),
    ],
)
def test_a_batch_coupled_loss_is_refused_in_parts(
    tiny_model, pairs, tmp_path, settings, message
):
    if "eval_data" in settings:
        settings = {**settings, "eval_data": str(pairs)}
    with pytest.raises(UserError, match=f"aot_unpaired_loss couples.*{message}"):
        run(tiny_model, pairs, tmp_path / "run", "aot_unpaired_loss", **settings)


def rankings(folder, **changes):
    """Three answers to each prompt; the best is one word longer than the next."""
    file = folder / "rankings.jsonl"
    answers = [" yes yes yes", " yes yes", " yes"]
    row = {"completions": answers, "scores": [3.0, 1.0, 0.0], **changes}
    file.write_text(
        "".join(json.dumps({"prompt": f"{i}?", **row}) + "\n" for i in range(16))
    )
    return file


@pytest.mark.parametrize(
    ("loss", "first"),
    [
        ("plackett_luce_dpo_loss", 6),
        pytest.param("infonca_loss", 3, marks=pytest.mark.slow),
    ],
)
def test_a_loss_of_ranked_answers(tiny_model, tmp_path, loss, first):
    """The policy is the reference: of 3! orders, or of 3 answers, each is as likely."""
    file = rankings(tmp_path)
    lines = run(tiny_model, file, tmp_path / "run", loss, beta=1.0, max_steps=4)
    np.testing.assert_allclose(lines[0]["loss"], np.log(first), rtol=1e-5)
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.01
    assert lines[-1]["rewards/accuracies"] == 1


@pytest.mark.slow
def test_a_loss_of_single_answers(tiny_model, tmp_path):
    """BCO begins at a shift of 0, where both kinds of answers cost log 2."""
    file = tmp_path / "answers.jsonl"
    rows = [
        {
            "prompt": f"{i}?",
            "completion": " yes" if i % 2 else " no",
            "label": i % 2 > 0,
        }
        for i in range(16)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    lines = run(
        tiny_model, file, tmp_path / "run", "bco_unpaired_loss", beta=1.0, max_steps=4
    )
    np.testing.assert_allclose(lines[0]["loss"], np.log(2), rtol=1e-5)
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.01
    assert lines[-1]["rewards/chosen"] > lines[-1]["rewards/rejected"] + 0.05


def test_every_answer_keeps_its_own_score():
    """In packed and shuffled rows, found by its tokens."""
    rng = np.random.default_rng(0)
    examples = []
    for i in range(6):
        ids = [np.array([1, 2, *rng.integers(5, 99, size=n)], np.int32) for n in (4, 3)]
        sequences = tuple(TokenSequence(x, np.arange(len(x)) >= 2) for x in ids)
        scores = np.array([x[2] for x in ids], np.float32)
        examples.append(Example(i, sequences, {"score": scores}))
    batch = Batches(examples, batch_size=6, seed=1)[0]
    found = 0
    for r, p, k in zip(*np.nonzero(batch.length), strict=True):
        first = batch.tokens.target_ids[r, batch.start[r, p, k]]
        assert batch.per_completion["score"][r, p, k] == first
        found += 1
    assert found == 12


def test_ranked_answers_need_an_order(tiny_model, tmp_path):
    file = rankings(tmp_path, scores=[1.0, 1.0, 0.0])
    with pytest.raises(UserError, match=r"same rank.*choose --loss infonca_loss"):
        run(tiny_model, file, tmp_path / "run", "plackett_luce_dpo_loss")


@pytest.fixture
def judged(tmp_path):
    """Pairs of which some say how much better one side is."""

    def write(**columns):
        file = tmp_path / "judged.jsonl"
        rows = [
            {"prompt": f"{i} + 1 =", "chosen": f" {i + 1}", "rejected": " no"}
            | {k: v[i] for k, v in columns.items()}
            for i in range(8)
        ]
        file.write_text("\n".join(map(json.dumps, rows)))
        return file

    return write


RATES = {"win_rate_chosen": [0.9] * 8, "win_rate_rejected": [0.25] * 8}


@pytest.mark.parametrize(
    ("loss", "columns", "message"),
    [
        ("mappo_loss", {"margin": [0.5] * 7 + [3.0]}, ":8: a `margin` gives 3"),
        ("mappo_loss", {}, "no row has a `margin` other than 0"),
        ("sppo_soft_loss", {}, ":1 has no `win_rate_chosen` and"),
    ],
)
def test_labels_that_a_loss_cannot_read(
    tiny_model, judged, tmp_path, loss, columns, message
):
    with pytest.raises(UserError, match=message):
        run(tiny_model, judged(**columns), tmp_path / "run", loss, dry_run=True)


def test_a_loss_that_reads_labels_gets_those_of_its_rows(tiny_model, judged, tmp_path):
    """At the reference h = 0, so all that is left is eta (P - 1/2), squared."""
    data = judged(**RATES)
    lines = run(tiny_model, data, tmp_path / "run", "sppo_soft_loss", eta=2.0)
    expected = (2 * 0.4) ** 2 + (2 * -0.25) ** 2
    np.testing.assert_allclose(lines[0]["loss"], expected, rtol=1e-5)
    assert lines[1]["loss"] < lines[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "settings"),
    [
        ("wpo_loss", {}),
        ("tdpo1_loss", {"microbatch_size": 1}),
        ("tdpo2_loss", {"parallel": "pmap"}),
        ("mappo_loss", {}),
    ],
)
def test_losses_that_read_more_than_log_probabilities(
    tiny_model, judged, tmp_path, loss, settings
):
    data = judged(margin=[i / 8 for i in range(8)])
    lines = run(tiny_model, data, tmp_path / "run", loss, **settings)
    scale = lines[0].get("pair_weight", 1.0)
    np.testing.assert_allclose(lines[0]["loss"], scale * np.log(2), rtol=1e-4)
    assert lines[1]["loss"] < lines[0]["loss"]
