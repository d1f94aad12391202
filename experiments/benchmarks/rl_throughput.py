"""Iterations of GRPO and PPO by jaxalign, TRL and Tunix, in turn, as ratios.

    python experiments/benchmarks/rl_throughput.py \
        --trl PYTHON --old-trl DIR --tunix PYTHON --out rl.json

Every measurement is a process of its own. README.md says what is counted.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# This process must stay small: a child's peak memory begins with its parent's.
from experiments.benchmarks.rl_work import TASKS
from experiments.benchmarks.shapes import SHAPES
from experiments.benchmarks.step_throughput import Line, Log
from experiments.benchmarks.table import results_table

STEPS = {"A": 5, "B": 2, "tiny": 2}


def commands_of(task: str, args) -> dict[str, list[str]]:
    """The children that measure a task, by library."""
    pythons = {"ours": sys.executable, "trl": args.trl, "tunix": args.tunix}
    commands = {
        name: [python, "-m", f"experiments.benchmarks.rl_{name}", "--task", task]
        for name, python in pythons.items()
        if python
    }
    if task == "ppo" and "trl" in commands:
        commands["trl"] += ["--trl", args.old_trl] if args.old_trl else []
    return commands


def measure_all(args) -> list[Line]:
    """All lines, the libraries in turn."""
    log = Log(args.out)
    for shape in args.shapes:
        for task in args.tasks:
            for turn in range(args.rounds):
                for name, command in commands_of(task, args).items():
                    steps = str(args.steps or STEPS[shape])
                    command = [*command, "--shape", shape, "--steps", steps]
                    library = "jaxalign" if name == "ours" else name
                    about = {"lib": library, "task": task, "shape": shape}
                    log.measure(command, args.timeout, **about, round=turn)
    return log.lines


def parse(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["A", "B"])
    parser.add_argument("--trl", metavar="PYTHON", help="interpreter that has trl")
    parser.add_argument("--old-trl", metavar="DIR", help="folder of trl 1.12, for PPO")
    parser.add_argument("--tunix", metavar="PYTHON", help="one that has google-tunix")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, help=f"iterations; default {STEPS}")
    parser.add_argument("--timeout", type=float, default=1800, help="s per measurement")
    parser.add_argument("--out", default="rl.json")
    return parser.parse_args(arguments)


def main():
    print(results_table(measure_all(parse())))


if __name__ == "__main__":
    main()
