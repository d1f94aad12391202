"""The command for all experiments: what it finds, and how it ends."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest

from experiments import expectations, run, runner
from experiments.runner import Experiment, Result

NAMES = run.names()


def test_every_numbered_folder_is_an_experiment():
    folders = [x.name for x in run.FOLDER.iterdir() if x.name[1:3].isdigit()]
    assert sorted(folders) == NAMES
    assert {"e01_frontier", "e03_estimators", "e12_threshold"} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_says_what_it_expects_of_both_grids(name):
    expected = json.loads((run.FOLDER / name / "expected.json").read_text())
    assert expected["experiment"] == name
    assert len(run.load(name).seeds) >= 3
    for check in (*expected["checks"], *expected["quick"]):
        assert check["status"] in ("measured", "to_measure")
        assert check["op"] in expectations.COMPARE
        assert check["reduce"] in expectations.REDUCE
    assert any(check["status"] == "measured" for check in expected["quick"])


@pytest.mark.parametrize("name", NAMES)
def test_committed_results_pass_the_checks(name, tmp_path):
    experiment = run.load(name)
    results = experiment.folder / "results.csv"
    arguments = ["--out", str(tmp_path), "--results", str(results), "--check"]
    assert runner.main(experiment, arguments) == 0
    pictures = list(tmp_path.glob("*.png"))
    assert all(x.stat().st_size > 0 for x in pictures)
    drawn = {x.name for x in pictures}
    assert drawn == {x.name for x in experiment.folder.glob("*.png")} != set()


def test_a_name_is_a_folder_or_its_number():
    assert run.chosen("e03") == run.chosen("e03_estimators") == ["e03_estimators"]
    assert run.chosen("all") == NAMES
    with pytest.raises(SystemExit) as end:
        run.main(["e99"])
    assert end.value.code == 2


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int


def made_up(folder, kl: float) -> Experiment:
    """An experiment of one number a seed; it should be below 2."""
    check = {"name": "small_kl", "where": {}, "metric": "kl", "reduce": "max"}
    check |= {"op": "<", "value": 2.0, "status": "measured"}
    folder.mkdir()
    (folder / "expected.json").write_text(json.dumps({"quick": [check]}))

    def of(config):
        if kl < 0:
            raise RuntimeError("no such divergence")
        time.sleep(0.01 * kl)  # no two runs take the same time
        return Result({"arm": "a", "beta": 1.0, "kl": kl + config.seed / 7}, [])

    def configs(seeds, quick):
        return [Config(seed) for seed in seeds]

    return Experiment("", folder, (0, 1), configs, of, lambda rows, out: None)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs all of some made-up experiments by their KL; gives the exit code."""

    def of(name: str, **kl: float) -> int:
        made = {k: made_up(tmp_path / f"{name}_{k}", x) for k, x in kl.items()}
        monkeypatch.setattr(run, "names", lambda: sorted(made))
        monkeypatch.setattr(run, "load", made.get)
        arguments = ["all", "--quick", "--check", "--out", str(tmp_path / name)]
        return run.main(arguments)

    return of


def test_the_same_command_gives_the_same_results_to_the_byte(runs, tmp_path):
    assert runs("one", e01_a=0.5, e02_b=1.0) == 0
    assert runs("other", e01_a=0.5, e02_b=1.0) == 0
    for name in ("e01_a", "e02_b"):
        one, other = (
            (tmp_path / x / name / "results.json").read_bytes()
            for x in ("one", "other")
        )
        assert one == other
        assert b"wall" not in one
        assert json.loads(one)[0]["kl"]["low"] < json.loads(one)[0]["kl"]["mean"]


def test_a_missed_bar_and_a_broken_run_end_with_1_and_stop_nothing(
    runs, tmp_path, capsys
):
    assert runs("missed", e01_a=3.0, e02_b=1.0) == 1
    assert "0 of 1" in capsys.readouterr().out
    assert runs("broken", e01_a=-1.0, e02_b=1.0) == 1
    assert (tmp_path / "broken" / "e02_b" / "results.json").exists()
    printed = capsys.readouterr().out
    assert "no such divergence" in printed
    assert "broke" in printed


@pytest.mark.slow
def test_all_of_them_quickly_and_twice_the_same(tmp_path):
    """In a quarter of an hour, on two cores, with every bar met."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    for out in ("one", "other"):
        start = time.monotonic()
        command = [sys.executable, "-m", "experiments.run", "all", "--quick", "--check"]
        done = subprocess.run(
            [*command, "--out", str(tmp_path / out)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert time.monotonic() - start < 900
    for name in NAMES:
        one, other = (
            (tmp_path / x / name / "results.json").read_bytes()
            for x in ("one", "other")
        )
        assert one == other, name
