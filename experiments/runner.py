"""Runs an experiment in a folder of its own, and compares it with what is expected.

A run folder holds `config.json`, `versions.json`, `metrics.jsonl` (a line per logged
step), `results.csv` (a row per arm and seed), `results.json` (mean and standard
deviation per arm) and the plots, which are drawn from `results.csv` alone.
"""

import argparse
import csv
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from rich.console import Console
from rich.progress import track

from experiments import expectations, versions

C = TypeVar("C")
Row = dict[str, Any]


class Result(NamedTuple):
    """What one run gives: its row of `results.csv`, and one record per logged step."""

    row: Row
    metrics: list[Row]


@dataclasses.dataclass(frozen=True)
class Experiment(Generic[C]):
    """What there is to run.

    Attributes:
      description: Claim, command, time and expected numbers: the docstring of `run.py`.
      folder: Where `run.py`, `expected.json` and the committed results are.
      seeds: The seeds of the reference run.
      configs: From seeds to dataclasses, one for each run. The second argument is true
        for a smaller grid, which takes less than a minute.
      run: From a config to its result.
      plot: Draws all plots into a folder, from the rows of `results.csv`.
      arm: Columns that tell arms apart; rows that agree on them differ by seed only.
    """

    description: str
    folder: Path
    seeds: Sequence[int]
    configs: Callable[[Sequence[int], bool], list[C]]
    run: Callable[[C], Result]
    plot: Callable[[list[Row], Path], None]
    arm: Sequence[str] = ("arm", "beta")


def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """The command line of every experiment; returns the exit code."""
    args = _parse(experiment, arguments)
    console = Console()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.results is None:
        configs = experiment.configs(args.seeds, args.quick)
        rows = run_all(experiment, configs, args.out, console)
    else:
        rows = read_rows(args.results)
    summary = summarise(rows, experiment.arm)
    write_json(args.out / "results.json", summary)
    experiment.plot(rows, args.out)
    for line in summary:
        console.print(_describe(line, experiment.arm), highlight=False, soft_wrap=True)
    if not args.check:
        return 0
    expected = json.loads((experiment.folder / "expected.json").read_text())
    return 0 if expectations.check(rows, expected["checks"], console) else 1


def run_all(
    experiment: Experiment[C], configs: list[C], out: Path, console: Console
) -> list[Row]:
    """Runs config after config, and writes what it gives as soon as it is there."""
    settings = [dataclasses.asdict(c) for c in configs]  # type: ignore
    write_json(out / "config.json", settings)
    write_json(out / "versions.json", versions.describe(experiment.folder))
    rows = []
    with (out / "metrics.jsonl").open("w") as metrics:
        for config in track(configs, experiment.folder.name, console=console):
            start = time.perf_counter()
            row, records = experiment.run(config)
            rows.append(row | {"wall_s": round(time.perf_counter() - start, 2)})
            metrics.writelines(json.dumps(record) + "\n" for record in records)
            write_rows(out / "results.csv", rows)
    return rows


def write_rows(file: Path, rows: list[Row]) -> None:
    """Writes rows as CSV; numbers with six digits."""
    with file.open("w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
            )


def read_rows(file: Path) -> list[Row]:
    """Reads them back; what looks like a number is one."""

    def value(text: str) -> Any:
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
        return text

    with file.open(newline="") as f:
        return [{k: value(v) for k, v in row.items()} for row in csv.DictReader(f)]


def summarise(rows: list[Row], arm: Sequence[str]) -> list[Row]:
    """Mean and standard deviation over seeds of every other number, for each arm."""
    summary = []
    for key in dict.fromkeys(tuple(row[name] for name in arm) for row in rows):
        members = [row for row in rows if tuple(row[name] for name in arm) == key]
        line: Row = dict(zip(arm, key, strict=True)) | {"runs": len(members)}
        for name, value in members[0].items():
            if name not in arm and isinstance(value, float):
                values = [row[name] for row in members]
                line[name] = {
                    reduce: expectations.REDUCE[reduce](values)
                    for reduce in ("mean", "std")
                }
        summary.append(line)
    return summary


def write_json(file: Path, content: Any) -> None:
    """Writes a JSON file for people to read."""
    file.write_text(json.dumps(content, indent=2) + "\n")


def _describe(line: Row, arm: Sequence[str]) -> str:
    name = "  ".join(f"{key} {line[key]}" for key in arm)
    numbers = (
        f"{key} {value['mean']:.4g} ± {value['std']:.2g}"
        for key, value in line.items()
        if isinstance(value, dict) and key != "wall_s"
    )
    return f"{name}: {', '.join(numbers)}"


def _parse(experiment: Experiment, arguments: Sequence[str] | None):
    parser = argparse.ArgumentParser(
        description=experiment.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path("runs") / experiment.folder.name
    parser.add_argument("--out", type=Path, default=default, help="the run folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=experiment.seeds)
    parser.add_argument("--quick", action="store_true", help="a smaller grid, no bar")
    parser.add_argument(
        "--check", action="store_true", help="compare with expected.json"
    )
    parser.add_argument(
        "--results", type=Path, help="take the rows from this file, and run nothing"
    )
    args = parser.parse_args(arguments)
    if args.quick and args.check:
        parser.error("--quick has no bar to check: leave one of the two out")
    return args
