"""What every library does in an iteration of RL, and what each measurement is told.

Plain Python, without the package: the peers' interpreters import it too.
"""

import argparse
from collections.abc import Sequence

from experiments.benchmarks.clock import Laps, report
from experiments.benchmarks.generation_work import BATCH, NEW, PROMPT
from experiments.benchmarks.shapes import SHAPES, Shape

TASKS = ("grpo", "ppo")
ANSWERS = {"grpo": 4, "ppo": 1}
"""To each prompt; there are 16 in all."""
KL_COEF = {"grpo": 0.04, "ppo": 0.05}
LEARNING_RATE = 1e-6
COMPILING = 2
"""Iterations that are not timed: the second may still compile."""

laps = Laps()


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every measuring script is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--task", required=True, choices=TASKS)
    parser.add_argument("--shape", required=True, choices=list(SHAPES))
    parser.add_argument("--steps", type=int, default=5, help="iterations to time")
    return parser


def prompt_words(shape: Shape, count: int) -> list[str]:
    """Prompts of `PROMPT` random words, of which each is a token."""
    import numpy as np

    ids = np.random.default_rng(0).integers(3, shape.vocab, (count, PROMPT))
    return [" ".join(f"t{i}" for i in row) for row in ids.tolist()]


def words_of(shape: Shape) -> dict[str, int]:
    """The vocabulary: token `i` is the word `t{i}`."""
    special = {"<pad>": 0, "</s>": 1, "<unk>": 2}
    return special | {f"t{i}": i for i in range(3, shape.vocab)}


def score(texts: Sequence[str]) -> list[float]:
    """A cheap reward that differs between answers; ends a lap.

    It is asked once an iteration, after sampling; and about nothing before the first,
    by which a run finds out whether it can be asked.
    """
    if texts:
        laps.lap()
    return [sum(map(ord, text)) % 97 / 97 for text in texts]


def report_iterations(args: argparse.Namespace, **more):
    """Prints the line; prompts and answers count, each answer with its prompt."""
    first = laps.drop(COMPILING)
    del laps.wall[args.steps :], laps.cpu[args.steps :]
    if len(laps.wall) != args.steps:
        raise SystemExit(f"{len(laps.wall)} iterations were timed, not {args.steps}")
    about = {"task": args.task, "shape": args.shape, "first_call_s": first}
    report(laps, tokens=BATCH * (PROMPT + NEW), **about, **more)
