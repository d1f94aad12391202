"""What `expected.json` says, held against the rows of a run."""

import math
import operator
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

REDUCE = {
    "mean": statistics.fmean,
    "max": max,
    "min": min,
    "std": lambda values: statistics.stdev(values) if len(values) > 1 else 0.0,
}
COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def measure(rows: Sequence[Mapping[str, Any]], check: Mapping[str, Any]) -> float:
    """The number that a check is about, or NaN if no row is meant.

    >>> rows = [{"arm": "a", "kl": 1.0}, {"arm": "a", "kl": 3.0}, {"arm": "b", "kl": 9}]
    >>> measure(rows, {"where": {"arm": "a"}, "metric": "kl", "reduce": "mean"})
    2.0
    """
    values = [
        row[check["metric"]]
        for row in rows
        if all(row[name] == value for name, value in check["where"].items())
    ]
    return REDUCE[check["reduce"]](values) if values else math.nan


def check(
    rows: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    console: Console,
) -> bool:
    """Prints a line per check: measured, expected, verdict. True if all hold.

    A check `to_measure` is reported and never fails. One that no row answers does: a
    claim about an arm that was not run is not confirmed.
    """
    passed = True
    for line in checks:
        value = measure(rows, line)
        holds = COMPARE[line["op"]](value, line["value"])
        counts = line["status"] == "measured"
        passed &= holds or not counts
        verdict = "ok" if holds else "FAIL" if counts else "differs"
        console.print(
            f"{verdict:8}{line['name']:40} {value:9.4g}, expected {line['op']}"
            f" {line['value']:g}" + ("" if counts else ", not a bar yet"),
            style="bold red" if verdict == "FAIL" else None,
            highlight=False,
        )
    return passed
