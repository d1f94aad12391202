"""Chains on a real model with commands that only write what a chain reads.

Each is a function of what it was asked, so a chain that was cut short and begun again
must find what one that ran through has found.
"""

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

RL = ("ppo", "grpo", "online")
WORDS = ("good", "bad", "dull", "bright", "slow", "the", "a", "film", "is", "very")
OUTCOMES = ("correct", "abstain", "wrong")


class Stopped(BaseException):
    """As Ctrl-C, but nobody else's."""


class Asked(NamedTuple):
    """A command, and its flags without dashes."""

    command: str
    flags: dict[str, str]


class Commands:
    """In place of `subprocess.run`: keeps what it was asked."""

    def __init__(self, stop_at: int | None = None):
        self.asked: list[Asked] = []
        self.stop_at = stop_at

    def __call__(self, line: list[str], check: bool) -> None:
        assert check
        assert line[1:3] == ["-m", "jaxalign"]
        command, *rest = line[3:]
        names = (x.removeprefix("--") for x in rest[::2])
        asked = Asked(command, dict(zip(names, rest[1::2], strict=True)))
        if len(self.asked) == self.stop_at:
            raise Stopped
        self.asked.append(asked)
        folder = Path(asked.flags["output-dir"])
        folder.mkdir(parents=True, exist_ok=True)
        assert Path(asked.flags["data"]).read_text()
        if command == "evaluate":
            evaluate(asked.flags, folder)
        else:
            (folder / "metrics.jsonl").write_text("")
            (folder / "export").mkdir()


def evaluate(flags: dict[str, str], folder: Path) -> None:
    rows = Path(flags["data"]).read_text().splitlines()
    rng = np.random.default_rng(zlib.crc32(json.dumps(flags, sort_keys=True).encode()))
    if "reward" in flags or "reward-model" in flags:
        count = len(rows) * int(flags.get("num-samples", 1))
        lines = (json.dumps(completion(flags, rng)) + "\n" for _ in range(count))
        (folder / "completions.jsonl").write_text("".join(lines))
    names = ("kl", "calibration/auroc", *(f"rewards/{x}" for x in SIDES))
    measures = {name: measure(rng) for name in names}
    groups = {x: dict.fromkeys([*OUTCOMES, "completions"], 0.25) for x in GROUPS}
    found = {"measures": measures, "abstention": groups}
    (folder / "results.json").write_text(json.dumps(found))


SIDES = ("accuracies", "margins", "chosen", "rejected")
GROUPS = ("all", "known", "unknown")


def measure(rng: np.random.Generator) -> dict[str, float]:
    value = float(rng.normal())
    return {"value": value, "low": value - 1, "high": value + 1, "rows": 8}


def completion(flags: dict[str, str], rng: np.random.Generator) -> dict[str, Any]:
    name = flags.get("reward", "reward_model").partition("(")[0]
    outcome = str(rng.choice(OUTCOMES))
    score = {"correct": 1.0, "abstain": 0.0, "wrong": -1.0}[outcome]
    text = " ".join(rng.choice(WORDS, 5))
    rewards = {name: score if "reward" in flags else float(rng.normal())}
    confidence = float(rng.integers(1, 10)) / 10
    said = {"completion": text, "outcome": outcome, "confidence": confidence}
    return {**said, "rewards": rewards}


def write_data(folder: Path) -> Path:
    """A few rows in the form of each data set, no prompt twice."""
    rng = np.random.default_rng(0)

    def text(number: int) -> str:
        return f"{number}th {' '.join(rng.choice(WORDS, 10))}"

    facts = [
        {"question": f"Who is {i}?", "answer": [f"P{i}"], "subject": f"S{i}"}
        for i in range(120)
    ]
    reviews = [{"text": text(i), "label": i % 2} for i in range(400)]
    talks = [
        {
            side: f"\n\nHuman: {i}?\n\nAssistant: {text(i)}"
            for side in ("chosen", "rejected")
        }
        for i in range(60)
    ]
    sets = {
        "pararel/qa": facts,
        "movie_reviews/sentences": reviews,
        "hh_rlhf/harmless_base": talks,
        "instruct_pref/instruct_pref": talks,
    }
    for name, rows in sets.items():
        file = folder / f"{name}.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
