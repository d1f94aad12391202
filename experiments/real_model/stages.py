"""A chain of `jaxalign` commands, each of which is run once."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]


def arguments(
    description: str | None, scales: Iterable[str] = ()
) -> argparse.Namespace:
    """The command line of a chain.

    Args:
      description: What its help says.
      scales: Sizes that it may be run at, the first by default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, required=True, help="SmolLM2's folder")
    parser.add_argument("--data", type=Path, required=True, help="of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="of all runs")
    parser.add_argument("--iterations", type=int, default=60, help="of PPO")
    parser.add_argument("--seed", type=int, default=0)
    if names := list(scales):
        text = "rows, updates and seeds, for what there is to run on"
        parser.add_argument("--scale", choices=names, default=names[0], help=text)
    return parser.parse_args()


def read_rows(file: Path, seed: int) -> list[Row]:
    """The rows of a JSONL file, shuffled."""
    rows = lines_of(file)
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[i] for i in order]


def lines_of(file: Path) -> list[Row]:
    """The rows of a JSONL file, in its order."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes a JSONL file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file.write_text("".join(lines), "utf-8")
    return file


def write_beside(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes what a run reads next to its folder, under its name."""
    # No `with_suffix`, to which the .25 of `rl_0.25` would be one.
    return write_rows(folder.parent / f"{folder.name}.jsonl", rows)


def run(command: str, folder: Path, **flags: Any) -> Path:
    """Runs `jaxalign COMMAND --output-dir FOLDER` unless it has run to its end.

    One that was interrupted goes on where it was.

    Returns:
      The exported model of a training command, the folder of others.
    """
    trains = command != "evaluate"
    result = folder / ("export" if trains else "results.json")
    if not result.exists():
        given = {"output_dir": folder, **flags}
        options = [
            part
            for name, value in given.items()
            for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        line = [sys.executable, "-m", "jaxalign", command, *options]
        print("$", " ".join(["jaxalign", *line[3:]]), flush=True)
        subprocess.run(line, check=True)
    return result if trains else folder


def sharing_reference(folder: Path) -> Path:
    """The folder of a run that shares what its reference says with those beside it."""
    link = folder / "cache"
    if not link.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parent / "cache").mkdir(exist_ok=True)
        link.symlink_to(Path("..", "cache"))
    return folder


def results(folder: Path) -> dict[str, Any]:
    """What `jaxalign evaluate` found."""
    return json.loads((folder / "results.json").read_text("utf-8"))


def history(folder: Path, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a metric of a run."""
    steps, values = [], []
    for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines():
        record = json.loads(line)
        if isinstance(record.get(name), int | float):
            steps.append(record["step"])
            values.append(record[name])
    return steps, values
