"""Every completion of a run on disk, and some of them before the user's eyes."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jaxalign.data.text.preview import printable
from jaxalign.rewards import Scores
from jaxalign.rl import Experience, Rollout
from jaxalign.rollout import Completions
from jaxalign.training.folder.own_files import finite, write_json_lines


class CompletionsLog:
    """Writes `completions/step_000123.jsonl`, and a table now and then."""

    def __init__(self, folder: Path, console: Console, *, every: int, shown: int):
        """Nothing is written yet.

        Args:
          folder: `completions/` of the run.
          console: Where tables go.
          every: Iterations between tables.
          shown: Completions in a table.
        """
        self._folder, self._console = folder, console
        self._every, self._shown = every, shown

    def write(self, experience: Experience) -> None:
        """Keeps all completions of an iteration; a second call replaces them."""
        step, used = experience.step, experience.rollout
        mean = {
            # The rounds hold the same objects, in another order; prompts may repeat.
            id(text): finite(row[:n].mean() if n else math.nan)
            for text, row, n, kept in zip(
                used.texts,
                experience.advantages,
                used.completions.lengths,
                np.repeat(used.kept, used.groups[1]),
                strict=True,
            )
            if kept
        }
        lines = [row for part in experience.rounds for row in _rows(part, mean)]
        write_json_lines(self._folder / f"step_{step:06}.jsonl", lines)
        if step == 1 or step % self._every == 0:
            self._show(step, lines[: self._shown])

    def _show(self, step: int, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        table = Table("prompt", "completion", "reward", title=f"step {step}")
        for line in lines:
            reward = "none" if line["reward"] is None else f"{line['reward']:.3f}"
            table.add_row(_plain(line["prompt"]), _plain(line["completion"]), reward)
        self._console.print(table)


def _rows(rollout: Rollout, mean: dict[int, float | None]):
    done, scores = rollout.completions, rollout.scores
    for b, text in enumerate(rollout.texts):
        yield {
            "prompt": text.prompt,
            "completion": text.completion,
            "row": text.index,
            "reward": finite(scores.total[b]),
            "rewards": {name: finite(x[b]) for name, x in scores.values.items()},
            "advantage": mean.get(id(text)),
            **_failed(scores, b),
            "length": int(done.lengths[b]),
            "stop": _why(done, b),
        }


def _why(done: Completions, b: int) -> str:
    """What ended a completion: a text of `--stop`, a stop token, or its length."""
    if done.by_text[b]:
        return "stop"
    return "stop_token" if done.stopped[b] else "max_new_tokens"


def _failed(scores: Scores, b: int) -> dict[str, list[str]]:
    """Which rewards failed on a completion, if any: theirs are fallbacks."""
    names = [name for name, faults in scores.faults.items() if b in faults]
    return {"failed": names} if names else {}


def _plain(text: str):
    from rich.text import Text

    return Text(printable(text if len(text) <= 200 else f"{text[:200]} ..."))
