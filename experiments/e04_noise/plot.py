"""Efficiency against KL, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.e04_noise.arms import TABLE
from experiments.results import Row


def plot(rows: list[Row], folder: Path) -> None:
    """A line for each loss of the table; the others at matched KL, as bars."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.6), layout="constrained")
    _lines(left, [row for row in rows if row["part"] == "sweep"])
    _bars(right, [row for row in rows if row["part"] == "matched"])
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "noise.png", dpi=130)
    plt.close(figure)


def _lines(ax, rows: list[Row]) -> None:
    for arm in TABLE:
        mine = [row for row in rows if row["arm"] == arm]
        strengths = sorted({row["strength"] for row in mine})
        points = [
            [
                statistics.fmean(row[name] for row in mine if row["strength"] == x)
                for name in ("kl", "efficiency")
            ]
            for x in strengths
        ]
        if points:
            ax.plot(*zip(*points, strict=True), "o-", ms=3, lw=1, label=arm)
    ax.set(
        xscale="log",
        xlabel="KL(π ‖ π_ref), exact",
        ylabel="reward / largest reward at this KL",
        title="10⁴ pairs, one label in five wrong; mean over seeds",
    )
    ax.legend(frameon=False, fontsize=8)


def _bars(ax, rows: list[Row]) -> None:
    targets = sorted({row["kl_wanted"] for row in rows})
    arms = dict.fromkeys(row["arm"] for row in rows)

    def mean(arm: str, kl: float) -> float:
        values = [
            row["matched_efficiency"]
            for row in rows
            if row["arm"] == arm and row["kl_wanted"] == kl
        ]
        return statistics.fmean(values) if values else float("nan")

    def best(arm: str) -> float:
        return max(x for kl in targets if (x := mean(arm, kl)) == x)  # NaN is not

    order = sorted(arms, key=best)
    for kl, mark in zip(targets, ("o", "^", "s"), strict=False):
        ax.plot([mean(arm, kl) for arm in order], order, mark, label=f"KL = {kl:g}")
    ax.set(xlabel="reward / largest reward at this KL", title="at matched KL")
    ax.grid(axis="y", lw=0.4)
    ax.tick_params(axis="y", labelsize=7)
    ax.legend(frameon=False, fontsize=8)
