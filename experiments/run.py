"""All numbered experiments by one command.

    python -m experiments.run all --quick --check --out runs
    python -m experiments.run e01 --check --seeds 0 1 2

NAME is `all`, the name of a folder (`e03_estimators`) or its number (`e03`). Each is
run in a folder of its own below `--out`. `--quick` takes smaller grids, with the bars
that `expected.json` has for them. The exit code is 1 if any bar is missed or any run
breaks.
"""

import argparse
import importlib
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.runner import Experiment, Outcome, add_flags, execute

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Folders of experiments: a number, a name, and a `run.py`."""
    return sorted(
        file.parent.name
        for file in FOLDER.glob("e*/run.py")
        if re.fullmatch(r"e\d\d_\w+", file.parent.name)
    )


def chosen(name: str) -> list[str]:
    """What is meant by a name on the command line; empty: nothing."""
    return [x for x in names() if name in ("all", x, x.partition("_")[0])]


def load(name: str) -> Experiment:
    return importlib.import_module(f"experiments.{name}.run").EXPERIMENT


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one or all of them; returns the exit code."""
    args = _parse(arguments)
    console = Console()
    outcomes: dict[str, Outcome | None] = {}
    start = time.perf_counter()
    for name in chosen(args.name):
        console.rule(name)
        try:
            outcomes[name] = execute(load(name), args, args.out / name, console)
        except Exception:  # the others are still worth running
            console.print_exception()
            outcomes[name] = None
    console.print(_table(outcomes, time.perf_counter() - start))
    return max(1 if x is None else x.exit_code for x in outcomes.values())


def _table(outcomes: dict[str, Outcome | None], seconds: float) -> Table:
    table = Table(title="experiments", footer_style="")
    table.add_column("experiment", f"all, {seconds:.0f} s")
    for heading in ("rows", "seconds", "bars met", "not bars yet", "verdict"):
        table.add_column(heading, justify="right")
    table.show_footer = True
    for name, outcome in outcomes.items():
        if outcome is None:
            table.add_row(name, "", "", "", "", "broke")
            continue
        bars = [x for x in outcome.verdicts if x.counts]
        met = sum(x.holds for x in bars)
        verdict = "FAIL" if outcome.exit_code else "ok" if bars else "not checked"
        table.add_row(
            name,
            str(outcome.num_rows),
            f"{outcome.seconds:.0f}",
            f"{met} of {len(bars)}",
            str(len(outcome.verdicts) - len(bars)),
            verdict,
        )
    return table


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME", help="all, or " + ", ".join(names()))
    parser.add_argument(
        "--out", type=Path, default=Path("runs"), help="where the run folders are made"
    )
    add_flags(parser)
    args = parser.parse_args(arguments)
    if not chosen(args.name):
        parser.error(f"no experiment `{args.name}`; there are {', '.join(names())}")
    return args


if __name__ == "__main__":
    sys.exit(main())
