"""Sampled tokens per second of jaxalign, TRL and Tunix, in turn, as ratios.

    python experiments/benchmarks/generation_throughput.py \
        --trl PYTHON --tunix PYTHON --out generation.json

Every measurement is a process of its own. README.md says what is counted.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# This process must stay small: a child's peak memory begins with its parent's.
from experiments.benchmarks.shapes import SHAPES
from experiments.benchmarks.step_throughput import Line, Log
from experiments.benchmarks.table import results_table

STEPS = {"A": 10, "B": 3, "tiny": 3}
TASKS = ("generate", "unequal")


def commands_of(task: str, args) -> dict[str, list[str]]:
    """The children that measure a task, by library."""
    module = "experiments.benchmarks.generation_"
    ours = [sys.executable, "-m", f"{module}ours"]
    if task == "unequal":
        refilled = [*ours, "--unequal"]
        return {"jaxalign": refilled, "jaxalign plain": [*refilled, "--plain"]}
    peers = {"trl": args.trl, "tunix": args.tunix}
    return {"jaxalign": ours} | {
        name: [python, "-m", f"{module}{name}"]
        for name, python in peers.items()
        if python
    }


def measure_all(args) -> list[Line]:
    """All lines, the libraries in turn."""
    log = Log(args.out)
    for shape in args.shapes:
        for task in args.tasks:
            commands = commands_of(task, args)
            for turn in range(args.rounds):
                for library, command in commands.items():
                    steps = str(args.steps or STEPS[shape])
                    command = [*command, "--shape", shape, "--steps", steps]
                    about = {"lib": library, "task": task, "shape": shape}
                    log.measure(command, args.timeout, **about, round=turn)
    return log.lines


def parse(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["A", "B"])
    parser.add_argument("--trl", metavar="PYTHON", help="interpreter that has trl")
    parser.add_argument("--tunix", metavar="PYTHON", help="one that has google-tunix")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, help=f"calls to time; default {STEPS}")
    parser.add_argument("--timeout", type=float, default=1800, help="s per measurement")
    parser.add_argument("--out", default="generation.json")
    return parser.parse_args(arguments)


def main():
    args = parse()
    print(results_table(measure_all(args)))


if __name__ == "__main__":
    main()
