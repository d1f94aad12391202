"""Both plots, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.e03_estimators.arms import ARMS, place_of_kl
from experiments.enumlm.learners import named
from experiments.runner import Row

_COLOURS = {"loss": "#c8553d", "reward": "#3b6ea5"}
_BAR = 0.02


def plot(rows: list[Row], folder: Path) -> None:
    """The reward–KL plane and the regret, one panel for each β."""
    betas = sorted({row["beta"] for row in rows if row["arm"] in ARMS})
    figure, axes = plt.subplots(
        2,
        len(betas),
        figsize=(5 * len(betas), 8.5),
        layout="constrained",
        squeeze=False,
    )
    for column, beta in zip(axes.T, betas, strict=True):
        mine = [row for row in rows if row["beta"] == beta]
        means, others = _means(mine, "table"), _means(mine, "transformer")
        _plane(column[0], rows, means, beta)
        _regret(column[1], means)
        style = {"mfc": "none", "color": "k", "label": "the same, transformer"}
        for ax, (x, y) in zip(column, (("kl", "reward"), ("rho", "arm")), strict=True):
            points = [(row[x], row[y]) for row in others.values()]
            ax.plot(*zip(*points, strict=True), "D", ms=5, **style)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(folder / "estimators.png", dpi=130)
    plt.close(figure)


def _means(rows: list[Row], policy: str) -> dict[str, Row]:
    return {
        arm: {
            "arm": arm,
            **{
                name: statistics.fmean(row[name] for row in members)
                for name in ("kl", "reward", "rho")
            },
        }
        for arm in ARMS
        if (members := [row for row in rows if row["arm"] == named(policy, arm)])
    }


def _plane(ax, rows: list[Row], means: dict[str, Row], beta: float) -> None:
    exact = [row for row in rows if row["arm"] == "optimum"]
    exact.sort(key=lambda row: row["kl"])
    line = [row["kl"] for row in exact], [row["reward"] for row in exact]
    ax.plot(*line, color="#555555", lw=1, label="frontier")
    best = next(row for row in exact if row["beta"] == beta)
    ax.plot(best["kl"], best["reward"], "*", ms=15, color="#e0a100", label="optimum")
    for place, colour in _COLOURS.items():
        points = [x for arm, x in means.items() if place_of_kl(arm) == place]
        ax.plot(
            [x["kl"] for x in points],
            [x["reward"] for x in points],
            {"loss": "o", "reward": "+"}[place],
            color=colour,
            label=f"KL in the {place}",
        )
    for arm, x in means.items():
        if x["rho"] > _BAR:
            at = (x["kl"], x["reward"])
            ax.annotate(arm, at, (6, -11), textcoords="offset points", fontsize=7)
    ax.set(title=f"β = {beta:g}", xlabel="KL(π ‖ π_ref), exact", ylabel="reward, exact")
    ax.spines[["top", "right"]].set_visible(False)


def _regret(ax, means: dict[str, Row]) -> None:
    arms = list(reversed(means))
    colours = [_COLOURS[place_of_kl(arm)] for arm in arms]
    ax.barh(arms, [means[arm]["rho"] for arm in arms], color=colours)
    ax.axvline(_BAR, color="#555555", lw=1, ls=":")
    ax.set(xscale="log", xlim=(1e-4, 10))
    ax.set_xlabel("normalised regret ρ (0 optimum, 1 reference)")
    ax.spines[["top", "right"]].set_visible(False)
