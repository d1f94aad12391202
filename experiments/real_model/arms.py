"""What arms of a chain were found to do, a row each."""

import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.real_model.stages import arguments


class Scale(NamedTuple):
    """How much is run.

    Attributes:
      iterations: Of RL, in multiples of --iterations.
      seeds: How many, from --seed on.
    """

    iterations: int
    seeds: int


SCALES = {"cpu": Scale(1, 1), "gpu": Scale(4, 3)}


class Table:
    """The rows of a CSV file, one for each arm, its parameter and its seed."""

    def __init__(self, file: Path, **scale: Any):
        """Reads what an earlier run has left.

        Args:
          file: There or not.
          **scale: What new rows say of how they were made.
        """
        self.file, self.rows, self._scale = file, [], scale
        if file.exists():
            with file.open(newline="") as stream:
                self.rows = list(csv.DictReader(stream))

    def has(self, arm: str, parameter: float, seed: int) -> bool:
        """Whether the arm has been measured."""
        key = [arm, str(parameter), str(seed)]
        return any([x["arm"], x["parameter"], x["seed"]] == key for x in self.rows)

    def add(self, arm: str, parameter: float, seed: int, **measures: Any) -> None:
        """Writes the file anew, in one move, with a further row."""
        row = {"arm": arm, "parameter": parameter, "seed": seed, **self._scale}
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


def measure_seeds(
    description: str | None,
    name: str,
    measure: Callable[[Any, Any, Table, int], None],
    scales: Mapping[str, Any] = SCALES,
) -> None:
    """The program of a chain whose arms are rows of a table, seed after seed.

    Further seeds may be added to the table by a further run with another `--seed`.

    Args:
      description: What its help says.
      name: Of the table, in `--out`.
      measure: All arms of one seed, told the flags, the scale, the table and the seed.
      scales: By the name that `--scale` takes; each says how many `seeds` it has.
    """
    args = arguments(description, scales)
    scale = scales[args.scale]
    args.out.mkdir(parents=True, exist_ok=True)
    table = Table(args.out / name, scale=args.scale, iterations=args.iterations)
    others = {row.get("scale") for row in table.rows} - {args.scale}
    if others:
        sys.exit(
            f"{table.file} has rows of --scale {others.pop()}, which would stand for "
            f"those of {args.scale}. Name another --out."
        )
    for seed in range(args.seed, args.seed + scale.seeds):
        measure(args, scale, table, seed)
