"""The runner on an experiment that takes no time."""

import dataclasses
import doctest
import json

import pytest
from rich.console import Console

from experiments import expectations, runner, sweep


@dataclasses.dataclass(frozen=True)
class Config:
    arm: str = "a"
    beta: float = 1.0
    seed: int = 0


def run(config: Config) -> runner.Result:
    row = {"arm": config.arm, "beta": config.beta, "key": config.seed}
    row["kl"] = config.beta / 3 + config.seed
    return runner.Result(row, [{"arm": config.arm, "step": 10, "kl": row["kl"]}])


def configs(seeds, quick) -> list[Config]:
    arms = ["a"] if quick else ["a", "b"]
    return sweep.configs(Config(), sweep.grid(arm=arms, beta=[0.5], seed=seeds))


@pytest.fixture
def experiment(tmp_path) -> runner.Experiment:
    check = {
        "name": "kl_of_a",
        "where": {"arm": "a", "beta": 0.5},
        "metric": "kl",
        "reduce": "max",
        "op": "<",
        "value": 1.2,
        "status": "measured",
    }
    (tmp_path / "expected.json").write_text(json.dumps({"checks": [check]}))

    def plot(rows, folder):
        (folder / "plot.txt").write_text(f"{len(rows)} rows")

    return runner.Experiment("what it is", tmp_path, (0, 1), configs, run, plot)


def test_a_run_folder_holds_what_the_run_was_and_gave(experiment, tmp_path):
    out = tmp_path / "run"
    assert runner.main(experiment, ["--out", str(out), "--check"]) == 0
    assert len(json.loads((out / "config.json").read_text())) == 4
    assert {"commit", "dirty", "jax", "devices"} <= json.loads(
        (out / "versions.json").read_text()
    ).keys()
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == {"arm": "b", "step": 10, "kl": 0.5 / 3 + 1}
    rows = runner.read_rows(out / "results.csv")
    assert [(row["arm"], row["key"]) for row in rows] == [
        ("a", 0),
        ("a", 1),
        ("b", 0),
        ("b", 1),
    ]
    assert rows[1]["kl"] == pytest.approx(0.5 / 3 + 1, rel=1e-5)
    (summary, _) = json.loads((out / "results.json").read_text())
    assert summary["kl"]["mean"] == pytest.approx(0.5 / 3 + 0.5)
    assert summary["kl"]["std"] == pytest.approx(0.5**0.5)
    assert (out / "plot.txt").read_text() == "4 rows"


def test_seeds_and_quick_choose_what_is_run(experiment, tmp_path):
    out = tmp_path / "run"
    assert runner.main(experiment, ["--out", str(out), "--quick", "--seeds", "7"]) == 0
    assert json.loads((out / "config.json").read_text()) == [
        {"arm": "a", "beta": 0.5, "seed": 7}
    ]


def test_a_check_that_does_not_hold_fails_the_run(experiment, tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "run"), "--seeds", "1", "2", "--check"]
    assert runner.main(experiment, arguments) == 1
    assert "FAIL    kl_of_a" in capsys.readouterr().out


def test_committed_results_are_checked_without_a_run(experiment, tmp_path, capsys):
    runner.main(experiment, ["--out", str(tmp_path / "run")])
    results = tmp_path / "run" / "results.csv"
    results.write_text(results.read_text().replace("1.16667", "5"))
    arguments = ["--out", str(tmp_path / "again"), "--check", "--results", str(results)]
    assert runner.main(experiment, arguments) == 1
    assert not (tmp_path / "again" / "metrics.jsonl").exists()
    assert (tmp_path / "again" / "plot.txt").exists()


def test_quick_runs_have_no_bar(experiment, tmp_path):
    with pytest.raises(SystemExit):
        runner.main(experiment, ["--out", str(tmp_path), "--quick", "--check"])


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({}, False),
        ({"value": 3.5}, True),
        ({"op": ">="}, True),
        ({"op": "<=", "value": 3.0}, True),
        ({"reduce": "mean"}, True),
        ({"where": {"arm": "c"}, "op": ">"}, False),  # no such row
        ({"status": "to_measure"}, True),
    ],
)
def test_checks(change, passes):
    rows = [{"arm": "a", "kl": 1.0}, {"arm": "a", "kl": 3.0}, {"arm": "b", "kl": 9.0}]
    check = {
        "name": "x",
        "where": {"arm": "a"},
        "metric": "kl",
        "reduce": "max",
        "op": "<",
        "value": 2.5,
        "status": "measured",
    }
    assert expectations.check(rows, [check | change], Console(quiet=True)) is passes


@pytest.mark.parametrize("module", [expectations, sweep])
def test_examples_in_docstrings(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
