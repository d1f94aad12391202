"""What policies do under each threshold, from the counts alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.real_model.plots import new_figure, save_with_legend
from jaxalign.rewards.abstention import wrong_reward

PANELS = {
    "answered": "answered, share of the questions",
    "right": "right, share of what is answered",
    "reward": "reward of a question",
}
WIDTH = 1.96
"""Standard errors on either side of a mean: 95 %."""


def measures(row: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Means with half the width of their intervals.

    Args:
      row: `threshold`, `asked`, and the numbers of `correct` and `wrong` answers.
    """
    right, wrong = row.get("correct", 0), row.get("wrong", 0)
    silent = row["asked"] - right - wrong
    outcomes = {
        "answered": [1] * (right + wrong) + [0] * silent,
        "right": [1] * right + [0] * wrong,
        "reward": [1] * right + [wrong_reward(row["threshold"])] * wrong + [0] * silent,
    }
    return {name: _mean(x) for name, x in outcomes.items()}


def _mean(outcomes: list[float]) -> tuple[float, float]:
    if not outcomes:
        return float("nan"), float("nan")
    error = float(np.std(outcomes)) / len(outcomes) ** 0.5
    return float(np.mean(outcomes)), WIDTH * error


def draw_thresholds(table: Path, file: Path) -> None:
    """A panel for each measure, a line for each policy, against the threshold."""
    found = json.loads(table.read_text(encoding="utf-8"))
    figure, axes = new_figure(len(PANELS))
    for ax, (measure, title) in zip(axes, PANELS.items(), strict=True):
        for policy, rows in found.items():
            thresholds = [row["threshold"] for row in rows]
            values, errors = zip(*(measures(x)[measure] for x in rows), strict=True)
            ax.errorbar(thresholds, values, errors, marker="o", ms=4, label=policy)
        ax.set_title(title)
        ax.set_xlabel("threshold told in the prompt")
        ax.grid(alpha=0.3)
    save_with_legend(figure, axes, file)
