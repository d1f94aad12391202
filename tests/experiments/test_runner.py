"""The runner on an experiment that takes no time."""

import dataclasses
import doctest
import json

import pytest
from rich.console import Console

from experiments import expectations, results, runner, sweep


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
    rows = results.read_rows(out / "results.csv")
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
    table = tmp_path / "run" / "results.csv"
    table.write_text(table.read_text().replace("1.16667", "5"))
    arguments = ["--out", str(tmp_path / "again"), "--check", "--results", str(table)]
    assert runner.main(experiment, arguments) == 1
    assert not (tmp_path / "again" / "metrics.jsonl").exists()
    assert (tmp_path / "again" / "plot.txt").exists()


def test_a_quick_run_has_bars_of_its_own(experiment, tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "run"), "--quick", "--check", "--seeds", "2"]
    with pytest.raises(SystemExit) as end:
        runner.main(experiment, arguments)
    assert end.value.code == 2
    assert "no list `quick`" in capsys.readouterr().err
    expected = tmp_path / "expected.json"
    checks = json.loads(expected.read_text())["checks"]
    loose = {"checks": checks, "quick": [checks[0] | {"value": 2.2}]}
    expected.write_text(json.dumps(loose))
    assert runner.main(experiment, arguments) == 0
    assert runner.main(experiment, [x for x in arguments if x != "--quick"]) == 1


def test_earlier_and_derived_rows_are_rows_of_the_table(experiment, tmp_path):
    def at_two_steps(config):
        row = {"arm": config.arm, "beta": config.beta, "step": 2, "kl": 1.0}
        return runner.Result(row, [], [row | {"step": 1, "kl": 0.5}])

    def compared(rows):
        return [{"arm": "a_minus_b", "gain": rows[0]["kl"] - rows[-1]["kl"]}]

    both = dataclasses.replace(experiment, run=at_two_steps, derive=compared)
    out = tmp_path / "run"
    assert runner.main(both, ["--out", str(out), "--seeds", "0"]) == 0
    rows = results.read_rows(out / "results.csv")
    assert [row.get("step") for row in rows] == [1, 2, 1, 2, None]
    assert rows[-1] == {"arm": "a_minus_b", "gain": -0.5}
    assert "beta" not in json.loads((out / "results.json").read_text())[-1]


def test_an_interval_is_students():
    """t of three degrees of freedom leaves 2.5 % above 3.18245."""
    found = results.describe([1.0, 2.0, 3.0, 4.0])
    half = 3.182446 * (5 / 3) ** 0.5 / 2
    assert found["high"] == pytest.approx(2.5 + half, rel=1e-6)
    assert found["low"] == pytest.approx(2.5 - half, rel=1e-6)
    assert results.describe([1.0])["low"] is None


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
    (verdict,) = expectations.judge(rows, [check | change], Console(quiet=True))
    assert verdict.failed is not passes


def test_a_check_along_a_column_is_about_means_and_their_steps():
    rows = [
        {"arm": "a", "n": n, "kl": kl}
        for n, kl in [(10, 1.0), (10, 3.0), (30, 2.5), (20, 2.25), (20, 2.25)]
    ]
    rises = {"where": {"arm": "a"}, "metric": "kl", "along": "n", "reduce": "min"}
    assert expectations.measure(rows, rises) == pytest.approx(0.25)
    assert expectations.measure(rows[:2], rises) != expectations.measure(rows, rises)


@pytest.mark.parametrize("module", [expectations, results, sweep])
def test_examples_in_docstrings(module):
    found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0
