"""What every library generates, and the arguments and the line of each measurement.

Plain Python, without the package: the peers' interpreters import it too.
"""

import argparse

import numpy as np

from experiments.benchmarks.clock import Laps, report
from experiments.benchmarks.shapes import SHAPES, Shape

BATCH = 16
PROMPT = 64
NEW = 128
BOS = 1

QUEUE = 8 * BATCH
"""Prompts of the unequal task."""
MEAN_LENGTH = 24
"""Of its answers: a token ends an answer with a probability of one over this."""


def prompts_of(shape: Shape, count: int = BATCH) -> list[list[int]]:
    """Random ids behind a BOS."""
    ids = np.random.default_rng(0).integers(3, shape.vocab, (count, PROMPT - 1))
    return [[BOS, *row] for row in ids.tolist()]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every measuring script is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--shape", required=True, choices=list(SHAPES))
    parser.add_argument("--steps", type=int, default=5, help="calls to time")
    return parser


def time_calls(generate, steps: int) -> tuple[Laps, float, list[int]]:
    """Laps of `steps` calls, seconds of one before them, and the last one's lengths.

    Args:
      generate: A call returns the number of tokens of each answer.
      steps: Calls that are timed.
    """
    laps, lengths = Laps(), []
    for _ in range(1 + steps):
        lengths = generate()
        laps.lap()
    return laps, laps.drop(1), lengths


def report_generation(task: str, args: argparse.Namespace, timed, **more):
    """Prints the line; new tokens count, and the prefill's time too."""
    laps, first, lengths = timed
    if task == "generate" and set(lengths) != {NEW}:
        raise SystemExit(f"answers of {set(lengths)} tokens, expected {NEW}")
    more = {"task": task, "shape": args.shape, "first_call_s": first} | more
    report(
        laps, tokens=sum(lengths), longest=max(lengths), answers=len(lengths), **more
    )
