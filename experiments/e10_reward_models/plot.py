"""Order, variance and overfitting, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.runner import Row

_COLOURS = ("#3b6ea5", "#c8553d", "#e0a100", "#4b7f52", "#7d5ba6")


def plot(rows: list[Row], folder: Path) -> None:
    """Kendall's τ against data, variance of rankings, log-loss along training."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    paired = [x for x in rows if x["size"] == 2]
    for colour, arm in zip(
        _COLOURS, dict.fromkeys(x["arm"] for x in paired), strict=False
    ):
        mine = [x for x in paired if x["arm"] == arm]
        sizes, values = _means(mine, "num", "tau")
        axes[0].plot(sizes, values, "o-", color=colour, label=arm.replace("_", " "))
    axes[0].set(xscale="log", xlabel="pairs", ylabel="Kendall's τ with the gold order")
    for colour, size in zip(_COLOURS, (4, 9), strict=False):
        for arm, style in (("kwise", "o--"), ("plackett_luce", "s-")):
            mine = [x for x in rows if x["arm"] == arm and x["size"] == size]
            numbers, values = _means(mine, "num", "variance")
            label = f"{arm.replace('_', ' ')}, K = {size}"
            axes[1].plot(numbers, values, style, color=colour, label=label)
    axes[1].set(xscale="log", yscale="log", xlabel="rankings", ylabel="variance")
    for colour, arm in zip(_COLOURS, ("together", "shuffled"), strict=False):
        texts = [x["log_loss_curve"].split() for x in rows if x["arm"] == arm]
        curve = np.mean([[float(x) for x in text] for text in texts], axis=0)
        epochs = np.arange(1, len(curve) + 1)
        axes[2].plot(epochs, curve, color=colour, label=f"pairs of a ranking {arm}")
    axes[2].set(xlabel="epoch", ylabel="log-loss of other pairs")
    for ax in axes:
        ax.legend(frameon=False, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "reward_models.png", dpi=130)
    plt.close(figure)


def _means(rows: list[Row], by: str, name: str) -> tuple[list, list[float]]:
    keys = sorted({row[by] for row in rows})
    groups = ([row[name] for row in rows if row[by] == key] for key in keys)
    return keys, [statistics.fmean(group) for group in groups]
