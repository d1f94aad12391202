"""Chains on a real model: what they reward is not what they measure, and they go on."""

import importlib
import inspect
import json
import pathlib
import re
import sys
import types

import pytest

from experiments.real_model import (
    abstention,
    confidence,
    dpo_hh,
    facts,
    frontier,
    preference,
    reviews,
    second_classifier,
    stages,
    threshold,
)
from experiments.real_model.instruments import HUMAN_LABELS, Instruments
from jaxalign import rewards
from tests.experiments.real_model.commands import RL, Asked, Commands, Stopped
from tests.experiments.real_model.commands import write_data as write_sets

FOLDER = pathlib.Path(stages.__file__).parent
CHAINS = sorted(
    x.stem for x in FOLDER.glob("*.py") if "\ndef main():" in x.read_text("utf-8")
)
SIZES = {
    abstention: {"HELD_OUT": 20},
    dpo_hh: {"HELD_OUT": 10},
    confidence: {"SAMPLED": 10},
    frontier: {"TUNED": 10},
    facts: {"SHOWN": 20, "HELD_OUT": 20},
    preference: {"HELD_OUT": 10},
    reviews: {"SFT_ROWS": 20, "PAIRS": 20, "HELD_OUT": 10, "PREFIXES": 20},
    threshold: {"ASKED_OF_EACH": 10},
}


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Small data, and relative paths from a folder that is not the checkout."""
    write_sets(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for module, sizes in SIZES.items():
        for name, size in sizes.items():
            monkeypatch.setattr(module, name, size)
    return tmp_path


def go(name, monkeypatch, out="out", stop_at=None, **flags) -> tuple[Commands, list]:
    """Runs a chain; its commands, and the texts that the classifier has judged."""
    commands, judged = Commands(stop_at), []

    def judge(self, texts):
        judged.extend(texts)
        return asked(self, texts)

    argv = [name, "--model", "model", "--data", "data", "--out", out]
    argv += [x for flag, value in flags.items() for x in (f"--{flag}", value)]
    with monkeypatch.context() as patch:
        asked = second_classifier.Classifier.__call__
        patch.setattr(second_classifier.Classifier, "__call__", judge)
        patch.setattr(sys, "argv", argv)
        # Not `subprocess.run` itself: matplotlib asks it for fonts, once on a machine.
        patch.setattr(stages, "subprocess", types.SimpleNamespace(run=commands))
        module = importlib.import_module(f"experiments.real_model.{name}")
        if stop_at is None:
            module.main()
        else:
            with pytest.raises(Stopped):
                module.main()
    return commands, judged


def reward_of(asked: Asked) -> str:
    text = asked.flags.get("reward", "")
    learned = "/" in text or "reward-model" in asked.flags
    return "reward_model" if learned else re.match(r"\w*", text)[0]  # pyright: ignore


def problems(stated: Instruments | None, commands: list[Asked], judged: list) -> str:
    """What is wrong with what a chain says of its instruments; empty if nothing."""
    rewarded = {reward_of(x) for x in commands if x.command in RL}
    if not rewarded:
        return ""
    if stated is None:
        return "RL, and no INSTRUMENTS"
    if rewarded != set(stated.rewards):
        return f"RL was rewarded by {rewarded}"
    runs = [x.flags["output-dir"] for x in commands if x.command in RL]
    after = [
        x
        for x in commands
        if x.command == "evaluate"
        and any(x.flags["model"].startswith(f"{run}/") for run in runs)
    ]
    measured = {reward_of(x) for x in after} | (
        {"second_classifier"} if judged else set()
    )
    if not set(stated.measures) <= measured:
        return f"what RL made was measured by {measured}"
    same = set(stated.rewards) & set(stated.measures)
    if not same <= set(HUMAN_LABELS):
        return f"{same} is reward and measure"
    trained = {p for x in commands if x.command in RL for p in prompts(x)}
    if any(trained & prompts(x) for x in after):
        return "measured on prompts of RL"
    return ""


def prompts(asked: Asked) -> set[str]:
    lines = pathlib.Path(asked.flags["data"]).read_text().splitlines()
    return {json.dumps(json.loads(line)["prompt"]) for line in lines}


@pytest.mark.parametrize("name", CHAINS)
def test_what_rl_is_rewarded_by_does_not_measure_it(name, desk, monkeypatch):
    commands, judged = go(name, monkeypatch)
    module = importlib.import_module(f"experiments.real_model.{name}")
    assert not problems(getattr(module, "INSTRUMENTS", None), commands.asked, judged)


def test_the_chains_with_rl_are_among_those():
    named = {"sentiment", "format_only", "dpo_frontier", "abstention", "threshold"}
    assert named < set(CHAINS)


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        (None, "no INSTRUMENTS"),
        (Instruments(("reward_model",), ("reward_model",)), "reward and measure"),
        (Instruments(("stopped",), ("second_classifier",)), "was rewarded by"),
    ],
)
def test_a_chain_that_does_not_say_so_is_found(stated, problem, desk, monkeypatch):
    commands, judged = go("sentiment", monkeypatch)
    assert problem in problems(stated, commands.asked, judged)


def test_a_learned_reward_as_measure_and_prompts_of_rl_are_found(desk):
    rows = desk / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "Go"}))
    trains = Asked("ppo", {"output-dir": "o", "reward": "stopped", "data": str(rows)})
    flags = {"model": "o/export", "data": str(rows)}

    def found(reward, measure):
        trained = trains._replace(flags={**trains.flags, "reward": reward})
        measured = Asked("evaluate", {**flags, "reward": measure})
        stated = Instruments((reward,), (measure,))
        return problems(stated, [trained, measured], [])

    assert "is reward and measure" in found("stopped", "stopped")
    assert found("stopped", "abstention") == "measured on prompts of RL"


@pytest.mark.parametrize("name", HUMAN_LABELS)
def test_what_counts_as_human_labels_compares_with_the_answer_of_the_row(name):
    assert (
        inspect.signature(getattr(rewards, name)).parameters["column"].default
        == "answer"
    )


SLOW = ("dpo_frontier", "frontier", "threshold")
TABLES = {
    "sentiment": "sentiment",
    "format_only": "format_only",
    "dpo_hh": "dpo_hh",
    "confidence": "confidence",
    "dpo_frontier": "sentiment_frontier",
    "frontier": "frontier",
    "threshold": "threshold",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=pytest.mark.slow) if x in SLOW else x for x in TABLES],
)
def test_a_chain_that_was_cut_short_goes_on(name, desk, monkeypatch):
    whole, _ = go(name, monkeypatch)
    there = written("out")
    (desk / "out").rename(desk / "once")
    first, _ = go(name, monkeypatch, stop_at=len(whole.asked) // 2)
    second, _ = go(name, monkeypatch)
    assert [*first.asked, *second.asked] == whole.asked
    assert written("out") == there
    third, _ = go(name, monkeypatch)
    assert not third.asked
    assert written("out") == there


def written(folder: str) -> dict[str, bytes]:
    """Tables of a chain, by their names."""
    files = [x for x in pathlib.Path(folder).iterdir() if x.suffix in (".csv", ".json")]
    assert files
    return {x.name: x.read_bytes() for x in files}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "table"), TABLES.items())
def test_a_larger_scale_has_three_seeds_and_every_arm_a_row(
    name, table, desk, monkeypatch
):
    go(name, monkeypatch)
    go(name, monkeypatch, out="large", scale="gpu")
    counts = [
        len((desk / out / f"{table}.csv").read_text().splitlines()) - 1
        for out in ("out", "large")
    ]
    assert counts[1] == 3 * counts[0] > 0
    assert (desk / "large" / "seed_2").is_dir()


def test_a_table_of_another_scale_is_refused(desk, monkeypatch):
    go("format_only", monkeypatch)
    table = desk / "out" / "format_only.csv"
    before = table.read_bytes()
    with pytest.raises(SystemExit, match="rows of --scale cpu"):
        go("format_only", monkeypatch, scale="gpu")
    assert table.read_bytes() == before
    assert b",cpu,60," in before


def test_a_table_that_is_there_is_not_measured_again(desk, monkeypatch):
    go("confidence", monkeypatch)
    (desk / "out").rename(desk / "once")
    (desk / "out").mkdir()
    for name in ("confidence.csv", "stated.json"):
        (desk / "once" / name).rename(desk / "out" / name)
    table = desk / "out" / "confidence.csv"
    whole = table.read_text().splitlines(keepends=True)
    table.write_text("".join(x for x in whole if not x.startswith("brier,")))
    commands, _ = go("confidence", monkeypatch)
    trained = [x.flags["output-dir"] for x in commands.asked if x.command in RL]
    assert trained == ["out/seed_0/rl_brier"]
    assert sorted(table.read_text().splitlines(keepends=True)) == sorted(whole)
