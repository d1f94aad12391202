"""What is said to known and to unknown facts, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.runner import Row

_SAID = {"right": "#4b7f52", "abstains": "#c9c9c9", "wrong": "#c8553d"}


def plot(rows: list[Row], folder: Path) -> None:
    """Stacked bars of all arms, and answer rates against confidence."""
    figure, axes = plt.subplots(
        1, 3, figsize=(14, 4.6), layout="constrained", sharey=False
    )
    arms = list(dict.fromkeys(x["arm"] for x in rows if not x["threshold"]))[::-1]
    for ax, facts in zip(axes, ("known", "unknown"), strict=False):
        left = np.zeros(len(arms))
        for said, colour in _SAID.items():
            widths = np.array([_mean(rows, arm, f"{facts}_{said}") for arm in arms])
            ax.barh(arms, widths, left=left, color=colour, label=said)
            left += widths
        ax.set(title=f"{facts} facts, held out", xlim=(0, 1), xlabel="share")
        ax.spines[["top", "right"]].set_visible(False)
    axes[1].set_yticklabels([])
    axes[0].legend(
        loc="lower center", bbox_to_anchor=(0.5, -0.3), ncols=3, frameon=False
    )
    law = [x for x in rows if x["arm"] == "threshold"]
    for i, t in enumerate(sorted({x["threshold"] for x in law})):
        mine = [x["answers_by_tenth"].split() for x in law if x["threshold"] == t]
        rates = np.mean([[float(x) for x in text] for text in mine], axis=0)
        line = axes[2].plot(np.linspace(0.05, 0.95, len(rates)), rates, f"C{i}o-", ms=3)
        axes[2].axvline(t, color=line[0].get_color(), ls=":", lw=1)
    axes[2].set(
        title="dotted: the threshold of each reward",
        xlabel="confidence before RL",
        ylabel="answers",
    )
    axes[2].spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "abstention.png", dpi=130)
    plt.close(figure)


def _mean(rows: list[Row], arm: str, name: str) -> float:
    return statistics.fmean(row[name] for row in rows if row["arm"] == arm)
