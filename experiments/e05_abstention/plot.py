"""What is said to known and to unknown facts, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.e05_abstention.arms import QUERIES, SHARED
from experiments.runner import Row

_SAID = {"right": "#4b7f52", "abstains": "#c9c9c9", "wrong": "#c8553d"}


def plot(rows: list[Row], folder: Path) -> None:
    """Stacked bars of all arms, and answer rates against confidence."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 8.6), layout="constrained")
    arms = dict.fromkeys(x["arm"] for x in rows if not x["threshold"])
    shared = [x for x in arms if x.startswith(SHARED)]
    plain = [x for x in arms if x not in QUERIES and x not in shared]
    asked = [x for x in arms if x in QUERIES]
    for ax, facts in zip(axes[0], ("known", "unknown"), strict=False):
        _bars(ax, rows, plain, facts)
    for ax, facts in zip(axes[1], ("known", "unknown"), strict=False):
        _bars(ax, rows, shared, facts)
    _bars(axes[1, 2], rows, asked, "unknown")
    axes[1, 2].set_title("three kinds of queries about unknown facts")
    for ax in axes[:, 1]:
        ax.set_yticklabels([])
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3
    )
    _law(axes[0, 2], [x for x in rows if x["arm"] == "threshold"])
    figure.savefig(folder / "abstention.png", dpi=130)
    plt.close(figure)


def _bars(ax: Any, rows: list[Row], arms: list[str], facts: str) -> None:
    left, arms = np.zeros(len(arms)), arms[::-1]
    for said, colour in _SAID.items():
        widths = np.array([_mean(rows, arm, f"{facts}_{said}") for arm in arms])
        ax.barh(arms, widths, left=left, color=colour, label=said)
        left += widths
    ax.set(title=f"{facts} facts, held out", xlim=(0, 1), xlabel="share")
    ax.spines[["top", "right"]].set_visible(False)


def _law(ax: Any, rows: list[Row]) -> None:
    for i, t in enumerate(sorted({x["threshold"] for x in rows})):
        mine = [x["answers_by_tenth"].split() for x in rows if x["threshold"] == t]
        rates = np.mean([[float(x) for x in text] for text in mine], axis=0)
        line = ax.plot(np.linspace(0.05, 0.95, len(rates)), rates, f"C{i}o-", ms=3)
        ax.axvline(t, color=line[0].get_color(), ls=":", lw=1)
    ax.set(
        title="dotted: the threshold of each reward",
        xlabel="confidence before RL",
        ylabel="answers",
    )
    ax.spines[["top", "right"]].set_visible(False)


def _mean(rows: list[Row], arm: str, name: str) -> float:
    return statistics.fmean(row[name] for row in rows if row["arm"] == arm)
