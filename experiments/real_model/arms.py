"""What arms of a chain were found to do, a row each."""

import csv
from pathlib import Path
from typing import Any


class Table:
    """The rows of a CSV file, one for each arm, its parameter and its seed."""

    def __init__(self, file: Path):
        """Reads what an earlier run has left."""
        self.file, self.rows = file, []
        if file.exists():
            with file.open(newline="") as stream:
                self.rows = list(csv.DictReader(stream))

    def has(self, arm: str, parameter: float, seed: int) -> bool:
        """Whether the arm has been measured."""
        key = [arm, str(parameter), str(seed)]
        return any([x["arm"], x["parameter"], x["seed"]] == key for x in self.rows)

    def add(self, arm: str, parameter: float, seed: int, **measures: Any) -> None:
        """Writes the file anew, in one move, with a further row."""
        row = {"arm": arm, "parameter": parameter, "seed": seed}
        for name, m in measures.items():
            row |= {
                name: m["value"],
                f"{name}_low": m["low"],
                f"{name}_high": m["high"],
            }
        self.rows.append({x: str(value) for x, value in row.items()})
        part = self.file.with_suffix(".part")
        with part.open("w", newline="") as stream:
            # What only some arms have is empty for the others.
            names = list(dict.fromkeys(name for row in self.rows for name in row))
            writer = csv.DictWriter(stream, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        part.replace(self.file)
        shown = (f"{x} {m['value']:.4g}" for x, m in measures.items())
        print(f"{arm} {parameter:g} seed {seed}:", *shown, flush=True)
