"""Rows of results: as a table in a file, and as means with intervals."""

import csv
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

Row = dict[str, Any]

TIME = "wall_s"
"""The column that is not the same twice; it is in `results.csv` alone."""

LEVEL = 0.95


def write_rows(file: Path, rows: list[Row]) -> None:
    """Writes rows as CSV; numbers with six digits, nothing where a row has no value."""
    names = dict.fromkeys(name for row in rows for name in row)
    with file.open("w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=list(names), lineterminator="\n")
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
        return [
            {k: value(v) for k, v in row.items() if v != ""}
            for row in csv.DictReader(f)
        ]


def summarise(rows: list[Row], arm: Sequence[str]) -> list[Row]:
    """For each arm mean, standard deviation and interval of every other number.

    Seeds are what is averaged over. Times are left out.
    """
    summary = []

    def key_of(row: Row) -> tuple:
        return tuple(row.get(name) for name in arm)

    for key in dict.fromkeys(key_of(row) for row in rows):
        members = [row for row in rows if key_of(row) == key]
        line: Row = {name: x for name, x in zip(arm, key, strict=True) if x is not None}
        line["runs"] = len(members)
        for name, value in members[0].items():
            if name not in (*arm, TIME) and isinstance(value, float):
                line[name] = describe([row[name] for row in members])
        summary.append(line)
    return summary


def describe(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, standard deviation, and Student's interval of the mean at 95 %.

    The interval is that of normal values whose deviation is not known: with three
    seeds 4.3 standard errors to either side. One value has none.

    >>> describe([1.0, 2.0, 3.0])["low"]
    -0.484...
    >>> describe([1.0])
    {'mean': 1.0, 'std': 0.0, 'low': None, 'high': None}
    """
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return {"mean": mean, "std": 0.0, "low": None, "high": None}
    std = statistics.stdev(values)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * std / math.sqrt(n)
    return {"mean": mean, "std": std, "low": mean - half, "high": mean + half}


def write_json(file: Path, content: Any) -> None:
    """Writes a JSON file for people to read."""
    file.write_text(json.dumps(content, indent=2) + "\n")
