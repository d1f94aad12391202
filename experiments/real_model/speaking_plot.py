"""What is made up against what is right: confidences as curves, arms as points."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.real_model.arms import Table
from experiments.real_model.plots import new_figure, save_with_legend
from jaxalign.ops import equal_width_bins

POINTS = {
    "sft": "SFT, the labeller's silence",
    "r_tuning": "R-Tuning",
    "r_tuning_sft": "R-Tuning of SFT",
    "dpo": "DPO",
    "rl": "RL, a penalty each",
    "rl_r_tuning": "RL from R-Tuning of SFT",
}
"""Arms of `frontier` that decide themselves when to be silent."""
Counts = list[dict[str, Any]]
"""Of `stated`."""


def stated(lines: Sequence[dict[str, Any]]) -> Counts:
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
    return [{"confidence": q, **counts[q]} for q in sorted(counts, key=_boldest)]


def speaking(rows: Counts, asked: int) -> np.ndarray:
    """Shares of all questions as ever less confident answers are given.

    Args:
      rows: Of `stated`.
      asked: Number of questions.

    Returns:
      `[N + 1, 2]`, wrong and right; at first nothing is answered.
    """
    spoken = [(x["wrong"], x["correct"]) for x in rows if x["confidence"] is not None]
    return np.cumsum([(0, 0), *spoken], axis=0) / asked


def draw_speaking(out: Path) -> None:
    """Wrong against right, and right answers against the confidence stated.

    Args:
      out: Folder with `frontier.csv`, a point for each row, or `stated.json`, from
        seeds and policies to `asked` and `stated`, or both; speaking.png is written
        there. Curves pool the questions of all seeds.
    """
    curves, points = _pooled(out / "stated.json"), _points(out / "frontier.csv")
    figure, (plane, *others) = new_figure(2 if curves else 1)
    for name, (rows, asked) in curves.items():
        plane.plot(*speaking(rows, asked).T, label=name)
    for arm, label in POINTS.items():
        if arm in points:
            plane.plot(*zip(*points[arm], strict=True), "o", ms=5, label=label)
    plane.set_title("right, share of all questions")
    plane.set_xlabel("wrong, share of all questions")
    for reliability in others:
        for rows, _ in curves.values():
            reliability.plot(*_bins(rows), marker="o", ms=4)
        reliability.plot([0, 1], [0, 1], color="gray", lw=0.8)
        reliability.set_title("right, share of the answers")
        reliability.set_xlabel("confidence stated")
    for axis in (plane, *others):
        axis.grid(alpha=0.3)
    save_with_legend(figure, (plane, *others), out / "speaking.png")


def _pooled(table: Path) -> dict[str, tuple[Counts, int]]:
    """The answers of each policy, of all seeds, and the number of its questions."""
    if not table.exists():
        return {}
    lines: dict[str, Counts] = {}
    asked: Counter[str] = Counter()
    for policies in json.loads(table.read_text(encoding="utf-8")).values():
        for name, found in policies.items():
            lines.setdefault(name, []).extend(found["stated"])
            asked[name] += found["asked"]
    return {name: (_merged(rows), asked[name]) for name, rows in lines.items()}


def _merged(rows: Counts) -> Counts:
    """One row for each confidence, in the order of `stated`."""
    sums: dict[float | None, Counter[str]] = {}
    for row in rows:
        counts = {x: row[x] for x in ("correct", "wrong")}
        sums.setdefault(row["confidence"], Counter()).update(counts)
    return [{"confidence": q, **sums[q]} for q in sorted(sums, key=_boldest)]


def _boldest(confidence: float | None) -> tuple[bool, float]:
    return confidence is None, -(confidence or 0.0)


def _points(table: Path) -> dict[str, list[tuple[float, float]]]:
    """Shares of wrong and right answers of each row, by arm."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in Table(table).rows:
        shares = float(row["wrong"]), float(row["correct"])
        points.setdefault(row["arm"], []).append(shares)
    return points


def _bins(rows: Counts) -> tuple[np.ndarray, np.ndarray]:
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
