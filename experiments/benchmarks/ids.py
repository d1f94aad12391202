"""The token ids of every update, the same for every library.

Without the package: the peers' interpreters import it too.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.benchmarks.shapes import PROMPT_SHARE, Shape


class Response(NamedTuple):
    """A whole sequence, of which everything from `prompt` on is trained.

    Attributes:
      ids: Token ids, prompt first.
      prompt: Number of prompt tokens, at least 1: nothing predicts the first token.
    """

    ids: list[int]
    prompt: int


Row = list[Response]
"""One response, or the chosen and the rejected one, whose prompts are equal."""


def dense_updates(task: str, shape: Shape, count: int) -> list[list[Row]]:
    """Updates of full rows of random ids."""
    rng = np.random.default_rng(0)
    prompt = shape.length // PROMPT_SHARE[task] if task in PROMPT_SHARE else 1
    sides = 2 if task in PROMPT_SHARE else 1

    def row() -> Row:
        shared = rng.integers(3, shape.vocab, prompt).tolist()
        rest = rng.integers(3, shape.vocab, (sides, shape.length - prompt)).tolist()
        return [Response(shared + ids, prompt) for ids in rest]

    return [[row() for _ in range(shape.batch)] for _ in range(count)]


def load_updates(file: str) -> list[list[Row]]:
    """What `rows.py` wrote."""
    updates = json.loads(Path(file).read_text(encoding="utf-8"))["updates"]
    return [[[Response(*x) for x in row] for row in update] for update in updates]


def updates_of(task: str, shape: Shape, file: str | None, steps: int | None):
    """A first update, which is not timed, and the `steps` that are (None: all)."""
    if file is not None:
        updates = load_updates(file)
        return updates if steps is None else updates[: steps + 1]
    return dense_updates(task, shape, 1 + (steps or 3))


def counts(updates: list[list[Row]]) -> dict[str, list[int]]:
    """Real and trained tokens of each update, every response counted whole.

    >>> counts([[[Response([5, 6, 7], 2), Response([5, 6, 8, 9], 2)]]])
    {'real_tokens': [7], 'trained_tokens': [3]}
    """
    responses = [[x for row in update for x in row] for update in updates]
    return {
        "real_tokens": [sum(len(x.ids) for x in some) for some in responses],
        "trained_tokens": [
            sum(len(x.ids) - x.prompt for x in some) for some in responses
        ],
    }
