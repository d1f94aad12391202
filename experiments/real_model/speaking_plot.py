"""What is made up against what is right: confidences as curves, arms as points."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.real_model.plots import new_figure, save_with_legend
from jaxalign.ops import equal_width_bins

POINTS = {
    "sft": "SFT, the labeller's silence",
    "r_tuning": "R-Tuning",
    "dpo": "DPO",
    "rl_": "RL, a penalty each",
}
"""Arms of `frontier` by the beginning of their name; some only change the prompt."""


def stated(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many answers are right and wrong at each confidence that was stated.

    Args:
      lines: `outcome` and `confidence` of each question.

    Returns:
      `confidence`, `correct`, `wrong`, the most confident first; without confidence
      last, as None.
    """
    counts: dict[float | None, dict[str, int]] = {}
    for line in lines:
        row = counts.setdefault(line["confidence"], {"correct": 0, "wrong": 0})
        if line["outcome"] in row:
            row[line["outcome"]] += 1
    order = sorted(counts, key=lambda q: (q is None, -(q or 0.0)))
    return [{"confidence": q, **counts[q]} for q in order]


def speaking(rows: list[dict[str, Any]], asked: int) -> np.ndarray:
    """Shares of all questions as ever less confident answers are given.

    Args:
      rows: Of `stated`.
      asked: Number of questions.

    Returns:
      `[N + 1, 2]`, wrong and right; at first nothing is answered.
    """
    spoken = [(x["wrong"], x["correct"]) for x in rows if x["confidence"] is not None]
    return np.cumsum([(0, 0), *spoken], axis=0) / asked


def draw_speaking(table: Path, points: Path, file: Path) -> None:
    """Wrong against right, and right answers against the confidence stated.

    Args:
      table: From each policy to `asked` and `stated`.
      points: Counts of outcomes of `frontier`'s arms; drawn if they are there.
      file: Is written.
    """
    figure, (plane, reliability) = new_figure(2)
    for name, found in json.loads(table.read_text(encoding="utf-8")).items():
        plane.plot(*speaking(found["stated"], found["asked"]).T, label=name)
        reliability.plot(*_bins(found["stated"]), marker="o", ms=4)
    arms = json.loads(points.read_text(encoding="utf-8")) if points.exists() else {}
    for beginning, label in POINTS.items():
        shares = _shares(arms, beginning)
        if len(shares):
            plane.plot(*shares.T, "o", ms=5, label=label)
    reliability.plot([0, 1], [0, 1], color="gray", lw=0.8)
    plane.set_title("right, share of all questions")
    plane.set_xlabel("wrong, share of all questions")
    reliability.set_title("right, share of the answers")
    reliability.set_xlabel("confidence stated")
    for axis in (plane, reliability):
        axis.grid(alpha=0.3)
    save_with_legend(figure, (plane, reliability), file)


def _shares(arms: dict[str, dict[str, Any]], beginning: str) -> np.ndarray:
    """`[N, 2]`, wrong and right, of the arms with that name."""
    found = []
    for name, groups in arms.items():
        if name.startswith(beginning):
            total = sum(sum(x.values()) for x in groups.values())
            outcomes = ("wrong", "correct")
            found.append(
                [sum(x.get(o, 0) for x in groups.values()) / total for o in outcomes]
            )
    return np.array(found)


def _bins(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean confidence and share of right answers in bins of equal width."""
    rows = [x for x in rows if x["confidence"] is not None]
    counts = [x[outcome] for x in rows for outcome in ("correct", "wrong")]
    confidence = np.repeat([x["confidence"] for x in rows for _ in range(2)], counts)
    right = jnp.asarray(np.repeat([True, False] * len(rows), counts))
    stated = jnp.asarray(confidence, jnp.float32)
    bins = equal_width_bins(stated, right, jnp.ones_like(right))
    count, confidence, correct = (np.asarray(x) for x in bins)
    some = count > 0
    return confidence[some] / count[some], correct[some] / count[some]
