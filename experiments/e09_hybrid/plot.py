"""What is learned and what is forgotten, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.runner import Row

_COLOURS = {
    "ppo_ptx": "#3b6ea5",
    "few_texts": "#e0a100",
    "rl_and_sft": "#c8553d",
    "sft_then_rl": "#4b7f52",
    "sft": "#7d5ba6",
    "exact": "#555555",
}


def plot(rows: list[Row], folder: Path) -> None:
    """Forgetting along training by γ; reward and forgetting of all arms at the end."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    mixed = [x for x in rows if x["arm"] == "ppo_ptx"]
    gammas = sorted({x["coef"] for x in mixed})
    for ax, name in zip(axes, ("reward", "rise"), strict=False):
        for gamma, shade in zip(gammas, np.linspace(0.2, 1, len(gammas)), strict=True):
            texts = [x[f"{name}_curve"] for x in mixed if x["coef"] == gamma]
            curve = np.mean([[float(v) for v in text.split()] for text in texts], 0)
            steps = 10 * np.arange(len(curve))
            ax.plot(steps, curve, color=plt.cm.Blues(shade), label=f"γ = {gamma:g}")
        ax.set_xlabel("iterations of PPO")
    axes[1].set_yscale("symlog", linthresh=0.01)
    axes[0].set_ylabel("reward where it is learned, exact")
    axes[1].set_ylabel("rise of the loss of texts, nats a text, exact")
    for arm in dict.fromkeys(x["arm"] for x in rows):
        cells = dict.fromkeys(x["coef"] for x in rows if x["arm"] == arm)
        points = [_means(rows, arm, coef) for coef in cells]
        axes[2].plot(
            *zip(*points, strict=True),
            "o-",
            color=_COLOURS[arm],
            label=arm.replace("_", " "),
        )
        for (x, y), coef in zip(points, cells, strict=True):
            if len(cells) > 1:
                axes[2].annotate(f" {coef:g}", (x, y), fontsize=7)
    axes[2].set(xlabel="rise of the loss of texts", ylabel="reward, at the end")
    axes[2].set_xscale("symlog", linthresh=0.01)
    for ax in axes:
        ax.legend(frameon=False, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "hybrid.png", dpi=130)
    plt.close(figure)


def _means(rows: list[Row], arm: str, coef: float) -> tuple[float, float]:
    mine = [x for x in rows if (x["arm"], x["coef"]) == (arm, coef)]
    rise, reward = (
        statistics.fmean(x[name] for x in mine) for name in ("rise", "reward")
    )
    return rise, reward
