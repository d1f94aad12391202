"""Gold reward against KL, from the rows of `results.csv` alone."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.runner import Row

_COLOURS = ("#c8553d", "#e0a100", "#3b6ea5", "#4b7f52", "#7d5ba6")


def plot(rows: list[Row], folder: Path) -> None:
    """Pairs of exact policies, pairs of best-of-n, and proxies beside each other."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    for ax, optimiser, title in zip(
        axes,
        ("exact", "best_of_n"),
        ("π_ref exp(proxy / β), 60 β", "best of n, n to 2^15"),
        strict=False,
    ):
        sizes = sorted({x["n_pairs"] for x in rows})
        for colour, size in zip(_COLOURS, sizes, strict=False):
            kl, proxy, gold = _mean(rows, "single", optimiser, size)
            ax.plot(kl, gold, color=colour, label=f"{size} pairs")
            ax.plot(kl, proxy, color=colour, lw=0.8, ls=":")
        ax.set(title=title, xlabel="KL(π ‖ π_ref)", ylabel="reward (dotted: proxy)")
    size = 100
    # Side by side in the same worlds: the single model was run in more of them.
    shared = {x["world_seed"] for x in rows if x["proxy"] != "single"}
    rows = [x for x in rows if x["world_seed"] in shared]
    kinds = sorted({x["proxy"] for x in rows}, key=lambda x: (x != "single", x))
    for colour, kind in zip(_COLOURS, kinds, strict=False):
        kl, _, gold = _mean(rows, kind, "exact", size)
        axes[2].plot(kl, gold, color=colour, label=kind.replace("_", " "))
    if any(x["optimiser"] == "ppo" for x in rows):
        kl, _, gold = _mean(rows, "single", "ppo", size)
        axes[2].plot(kl, gold, "k.", label="single, PPO (3 worlds)")
    axes[2].set(title=f"{size} pairs", xlabel="KL(π ‖ π_ref)", ylabel="gold reward")
    for ax in axes:
        ax.legend(frameon=False, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "overoptimisation.png", dpi=130)
    plt.close(figure)


def mean_curve(rows: list[Row], name: str) -> np.ndarray:
    """A column of curves, averaged over rows point by point."""
    return np.mean([[float(x) for x in row[name].split()] for row in rows], axis=0)


def _mean(rows: list[Row], proxy: str, optimiser: str, size: int):
    wanted = (proxy, optimiser, size, 1.0)
    names = ("proxy", "optimiser", "n_pairs", "noise")
    mine = [x for x in rows if tuple(x[name] for name in names) == wanted]
    if not mine:
        return [], [], []
    return [mean_curve(mine, f"{x}_curve") for x in ("kl", "proxy", "gold")]
