"""Regret by sampler and weights, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.runner import Row

_COLOURS = {"none": "#c8553d", "truncated": "#3b6ea5", "masked": "#4b7f52"}


def plot(rows: list[Row], folder: Path) -> None:
    """One panel for RLOO's advantages, one for the same plus a constant."""
    figure, axes = plt.subplots(
        1, 2, figsize=(10, 4.4), layout="constrained", sharey=True
    )
    samplers = list(dict.fromkeys(x["sampler"] for x in rows))
    for ax, offset in zip(axes, (0, 2), strict=True):
        for arm in dict.fromkeys(x["arm"] for x in rows):
            cells = [(arm, sampler, offset) for sampler in samplers]
            values = [_mean(rows, cell) for cell in cells]
            weights = arm.removesuffix("_centred")
            style = "--" if arm.endswith("_centred") else "-"
            label = arm.replace("_", ", ")
            ax.plot(samplers, values, f"o{style}", color=_COLOURS[weights], label=label)
        title = "advantages of mean 0" if offset == 0 else "the same plus 2"
        ax.set(title=title, yscale="log", xlabel="sampler")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("normalised regret ρ")
    axes[1].legend(frameon=False, fontsize=8)
    figure.savefig(folder / "off_policy.png", dpi=130)
    plt.close(figure)


def _mean(rows: list[Row], cell: tuple) -> float:
    names = ("arm", "sampler", "offset")
    return statistics.fmean(
        x["rho"] for x in rows if tuple(x[n] for n in names) == cell
    )
