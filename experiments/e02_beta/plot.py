"""KL and reward against β, from the rows of `results.csv` alone."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.results import Row

NUM_PAIRS = 100_000

_ARMS = {
    "exact": ("-", "#555555", "exact optimum"),
    "population": ("*", "k", "DPO, all pairs there are"),
    "dpo": ("o", "#3b6ea5", "DPO, 10⁵ pairs, each seed"),
    "transformer_dpo": ("D", "#c8553d", "DPO, transformer, the same"),
}


def plot(rows: list[Row], folder: Path) -> None:
    """KL, reward, and how far DPO's KL is from where it belongs."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for ax, metric in zip(axes, ("kl", "reward", "kl_error"), strict=True):
        for arm, (form, colour, label) in _ARMS.items():
            mine = sorted(
                (x for x in rows if x["arm"] == arm and x["n_pairs"] in (0, NUM_PAIRS)),
                key=lambda row: row["beta"],
            )
            ax.plot(
                [x["beta"] for x in mine],
                [x[metric] for x in mine],
                form,
                color=colour,
                ms=9 if form == "*" else 4,
                mfc="none" if form == "D" else None,
                label=label,
            )
        ax.set(xscale="log", xlabel="β")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel="KL(π ‖ π_ref), exact")
    axes[0].legend(frameon=False)
    axes[1].set(ylabel="reward, exact")
    axes[2].set(ylabel="KL / KL of the optimum − 1", ylim=(-0.2, 0.1))
    axes[2].axhspan(-0.03, 0.03, color="0.9", zorder=0)
    figure.savefig(folder / "beta.png", dpi=130)
    plt.close(figure)
