"""What `expected.json` says, held against the rows of a run."""

import itertools
import math
import operator
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

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


class Verdict(NamedTuple):
    """What came of a check: the number, whether it holds, and whether it is a bar."""

    name: str
    value: float
    holds: bool
    counts: bool

    @property
    def failed(self) -> bool:
        return self.counts and not self.holds


def measure(rows: Sequence[Mapping[str, Any]], check: Mapping[str, Any]) -> float:
    """The number that a check is about, or NaN if no row is meant.

    `where` says which rows: those that have these values in these columns. `along`, if
    there, makes it a number about steps: the metric's means at each value of that
    column, each less the one before it. A minimum above 0 says that it rises.

    >>> rows = [{"arm": "a", "kl": 1.0}, {"arm": "a", "kl": 3.0}, {"arm": "b", "kl": 9}]
    >>> measure(rows, {"where": {"arm": "a"}, "metric": "kl", "reduce": "mean"})
    2.0
    >>> rows = [{"beta": 2, "kl": 1.0}, {"beta": 1, "kl": 4.0}, {"beta": 1, "kl": 6.0}]
    >>> falls = {"where": {}, "metric": "kl", "along": "beta", "reduce": "max"}
    >>> measure(rows, falls)
    -4.0
    """
    metric = check["metric"]
    meant = [
        row
        for row in rows
        if metric in row and all(row.get(k) == v for k, v in check["where"].items())
    ]
    values = [row[metric] for row in meant]
    if "along" in check:
        along = check["along"]
        points = sorted({row[along] for row in meant})
        means = [
            statistics.fmean(row[metric] for row in meant if row[along] == point)
            for point in points
        ]
        values = [after - before for before, after in itertools.pairwise(means)]
    return REDUCE[check["reduce"]](values) if values else math.nan


def judge(
    rows: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    console: Console,
) -> list[Verdict]:
    """Prints a line per check: measured, expected, verdict.

    A check `to_measure` is reported and never fails. One that no row answers does: a
    claim about an arm that was not run is not confirmed.
    """
    verdicts = []
    for line in checks:
        value = measure(rows, line)
        holds = COMPARE[line["op"]](value, line["value"])
        verdict = Verdict(line["name"], value, holds, line["status"] == "measured")
        verdicts.append(verdict)
        word = "ok" if holds else "FAIL" if verdict.failed else "differs"
        console.print(
            f"{word:8}{line['name']:40} {value:9.4g}, expected {line['op']}"
            f" {line['value']:g}" + ("" if verdict.counts else ", not a bar yet"),
            style="bold red" if verdict.failed else None,
            highlight=False,
            soft_wrap=True,
        )
    return verdicts
