"""Runs an experiment in a folder of its own, and compares it with what is expected.

A run folder holds `config.json`, `versions.json`, `metrics.jsonl` (a line per logged
step), `results.csv` (a row per run, with its time), `results.json` (for each arm the
mean over its seeds, with an interval) and the plots, which are drawn from
`results.csv` alone. The same command gives the same `results.json`, byte for byte, on
the same machine.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from rich.console import Console
from rich.progress import track

from experiments import expectations, versions
from experiments.results import (
    TIME,
    Row,
    read_rows,
    summarise,
    write_json,
    write_rows,
)
from jaxalign.errors import UserError

C = TypeVar("C")


class Result(NamedTuple):
    """What one run gives.

    Attributes:
      row: Its row of `results.csv`.
      metrics: One record per logged step.
      earlier: Rows of the same run at earlier steps, which go before `row`.
    """

    row: Row
    metrics: list[Row]
    earlier: Sequence[Row] = ()


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
      derive: Further rows, made from those of all runs, such as comparisons of arms.
    """

    description: str
    folder: Path
    seeds: Sequence[int]
    configs: Callable[[Sequence[int], bool], list[C]]
    run: Callable[[C], Result]
    plot: Callable[[list[Row], Path], None]
    arm: Sequence[str] = ("arm", "beta")
    derive: Callable[[list[Row]], list[Row]] | None = None


class Outcome(NamedTuple):
    """What a run of an experiment came to."""

    num_rows: int
    seconds: float
    verdicts: list[expectations.Verdict]

    @property
    def exit_code(self) -> int:
        return 1 if any(x.failed for x in self.verdicts) else 0


def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """The command line of one experiment; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=experiment.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path("runs") / experiment.folder.name
    parser.add_argument("--out", type=Path, default=default, help="the run folder")
    add_flags(parser)
    parser.add_argument(
        "--results", type=Path, help="take the rows from this file, and run nothing"
    )
    args = parser.parse_args(arguments)
    try:
        outcome = execute(experiment, args, args.out, Console(), args.results)
    except UserError as error:
        parser.error(str(error))
    return outcome.exit_code


def add_flags(parser: argparse.ArgumentParser) -> None:
    """What may be asked of any experiment."""
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="in place of those of the reference run"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a smaller grid, with the bars that expected.json has for it",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare with expected.json; exit code 1 if a bar is missed",
    )


def execute(
    experiment: Experiment,
    args: argparse.Namespace,
    out: Path,
    console: Console,
    results: Path | None = None,
) -> Outcome:
    """Runs an experiment as the flags say, and writes and prints what came of it."""
    start = time.perf_counter()
    checks = expected_of(experiment, args.quick) if args.check else []
    out.mkdir(parents=True, exist_ok=True)
    if results is None:
        seeds = experiment.seeds if args.seeds is None else args.seeds
        configs = experiment.configs(seeds, args.quick)
        rows = run_all(experiment, configs, out, console)
    else:
        rows = read_rows(results)
    summary = summarise(rows, experiment.arm)
    write_json(out / "results.json", summary)
    experiment.plot(rows, out)
    for line in summary:
        console.print(_describe(line, experiment.arm), highlight=False, soft_wrap=True)
    verdicts = expectations.judge(rows, checks, console)
    return Outcome(len(rows), time.perf_counter() - start, verdicts)


def expected_of(experiment: Experiment, quick: bool) -> list[dict[str, Any]]:
    """The checks of the full grid, or those of the quick one.

    Raises:
      UserError: There are none: nothing would be confirmed.
    """
    file = experiment.folder / "expected.json"
    name = "quick" if quick else "checks"
    checks = json.loads(file.read_text()).get(name)
    if not checks:
        raise UserError(
            f"{file} has no list `{name}`, so there is no bar to check. Leave --check "
            "out, or write down what is to be expected."
        )
    return checks


def run_all(
    experiment: Experiment[C], configs: list[C], out: Path, console: Console
) -> list[Row]:
    """Runs config after config, and writes what it gives as soon as it is there."""
    settings = [dataclasses.asdict(c) for c in configs]  # type: ignore
    write_json(out / "config.json", settings)
    write_json(out / "versions.json", versions.describe(experiment.folder))
    rows: list[Row] = []
    with (out / "metrics.jsonl").open("w") as metrics:
        for config in track(configs, experiment.folder.name, console=console):
            start = time.perf_counter()
            result = experiment.run(config)
            seconds = {TIME: round(time.perf_counter() - start, 2)}
            rows += [row | seconds for row in (*result.earlier, result.row)]
            metrics.writelines(json.dumps(x) + "\n" for x in result.metrics)
            write_rows(out / "results.csv", rows)
    if experiment.derive is not None:
        rows += experiment.derive(rows)
        write_rows(out / "results.csv", rows)
    return rows


def _describe(line: Row, arm: Sequence[str]) -> str:
    name = "  ".join(f"{key} {line[key]}" for key in arm if key in line)
    numbers = (
        f"{key} {value['mean']:.4g} ± {value['std']:.2g}"
        for key, value in line.items()
        if isinstance(value, dict)
    )
    return f"{name}: {', '.join(numbers)}"
