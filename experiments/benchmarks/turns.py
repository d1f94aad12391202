"""Libraries measured in turn, each in a process of its own.

This process must stay small: a child's peak memory begins with its parent's.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

from experiments.benchmarks.shapes import SHAPES
from experiments.benchmarks.step_throughput import Line, Log

Commands = Mapping[str, list[str]]
"""The children that measure a task, by library."""


def arguments(
    description: str | None, tasks: Sequence[str], steps: Mapping[str, int], out: str
) -> argparse.ArgumentParser:
    """The command line of a comparison.

    Args:
      description: Of the command.
      tasks: What can be measured.
      steps: How many calls are timed, by shape.
      out: File of all lines.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks)
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["A", "B"])
    parser.add_argument("--trl", metavar="PYTHON", help="interpreter that has trl")
    parser.add_argument("--tunix", metavar="PYTHON", help="one that has google-tunix")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, help=f"calls to time; default {steps}")
    parser.add_argument("--timeout", type=float, default=1800, help="s per measurement")
    parser.add_argument("--out", default=out)
    return parser


def measure_in_turn(
    args: argparse.Namespace,
    commands_of: Callable[[str, argparse.Namespace], Commands],
    steps: Mapping[str, int],
) -> list[Line]:
    """All lines."""
    log = Log(args.out)
    for shape in args.shapes:
        for task in args.tasks:
            commands = commands_of(task, args)
            for turn in range(args.rounds):
                for library, command in commands.items():
                    count = str(args.steps or steps[shape])
                    command = [*command, "--shape", shape, "--steps", count]
                    about = {"lib": library, "task": task, "shape": shape}
                    log.measure(command, args.timeout, **about, round=turn)
    return log.lines
