"""Reward against KL divergence, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.results import Row

_RL = {
    "rloo": ("+", "RLOO, gold reward"),
    "grpo": ("x", "GRPO, gold reward"),
    "ppo": ("1", "PPO, gold reward"),
    "ppo_learned_linear": ("2", "PPO, reward learned from 10⁴ pairs"),
}
_BASELINES = {
    "preferred_ft": ("v", "preferred-FT, 10⁴ pairs"),
    "unlikelihood": ("^", "unlikelihood, 10⁴ pairs"),
}
_TRANSFORMER = {
    "color": "k",
    "mfc": "none",
    "ms": 5,
    "label": "DPO, transformer (pairs by shade)",
}
_SHADES = ("#9ecae1", "#6baed6", "#3182bd", "#08519c")


def plot(rows: list[Row], folder: Path) -> None:
    """The plane of reward and KL, and efficiency against the number of pairs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    _plane(left, rows)
    _by_pairs(right, rows)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "frontier.png", dpi=130)
    plt.close(figure)


def _plane(ax, rows: list[Row]) -> None:
    _line(ax, rows, "optimum", color="#555555", lw=1, label="frontier")
    _line(ax, rows, "best_of_n", color="#e0a100", lw=1, label="best-of-n, exact law")
    _line(ax, rows, "dpo_population", "*", color="k", label="DPO, all pairs there are")
    counts = sorted({row["n_pairs"] for row in rows if row["arm"] == "dpo"})
    for n_pairs, shade in zip(counts, _SHADES[-len(counts) :], strict=True):
        mine = [row for row in rows if row.get("n_pairs") == n_pairs]
        _line(ax, mine, "dpo", "o-", color=shade, ms=4, label=f"DPO, {n_pairs:,} pairs")
        _line(ax, mine, "transformer_dpo", "D", color=shade, mfc="none", ms=5)
    _line(ax, rows, "transformer_dpo_population", "D", **_TRANSFORMER)
    for arm, (mark, label) in _RL.items():
        _line(ax, rows, arm, mark, color="#c8553d", ms=9, label=label)
    for arm, (mark, label) in _BASELINES.items():
        _line(ax, rows, arm, mark, color="#6a8f3c", label=label)
    ax.set(xlabel="KL(π ‖ π_ref), exact", ylabel="reward, exact", xlim=(-0.2, 6.5))
    ax.legend(frameon=False, fontsize=8)


def _line(ax, rows: list[Row], arm: str, form: str = "-", **style) -> None:
    """Means over seeds of an arm, a point for each of its settings."""
    mine = [row for row in rows if row["arm"] == arm]
    settings = ("beta", "n_pairs", "alpha", "n")
    keys = dict.fromkeys(tuple(row.get(x) for x in settings) for row in mine)
    points = []
    for key in keys:
        same = [row for row in mine if tuple(row.get(x) for x in settings) == key]
        points.append(
            [statistics.fmean(row[name] for row in same) for name in ("kl", "reward")]
        )
    if points:
        ax.plot(*zip(*sorted(points), strict=True), form, **style)


def _by_pairs(ax, rows: list[Row]) -> None:
    looks = {
        "dpo": "o-",
        "transformer_dpo": "D-.",
        "learned_linear": "s--",
        "learned_tabular": "^:",
    }
    names = {
        "dpo": "DPO",
        "transformer_dpo": "DPO, transformer",
        "learned_linear": "optimum for a learned linear reward",
        "learned_tabular": "optimum for a learned table of rewards",
    }
    for arm, form in looks.items():
        mine = [row for row in rows if row["arm"] == arm and row["beta"] == 1]
        counts = sorted({row["n_pairs"] for row in mine})
        values = [[x["efficiency"] for x in mine if x["n_pairs"] == n] for n in counts]
        means = [statistics.fmean(x) for x in values]
        ends = [
            [mean - min(x) for mean, x in zip(means, values, strict=True)],
            [max(x) - mean for mean, x in zip(means, values, strict=True)],
        ]
        ax.errorbar(counts, means, yerr=ends, fmt=form, capsize=3, label=names[arm])
    ax.axhline(1, color="#555555", lw=1, ls=":")
    ax.set(
        xscale="log",
        xlabel="pairs for each prompt",
        ylabel="reward / largest reward at this KL",
        title="β = 1; bars from the lowest to the highest seed",
    )
    ax.legend(frameon=False, fontsize=8)
