"""Reward and KL divergence along training, from the rows of `results.csv` alone."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.results import Row

_COLOURS = {"dpo": "#3b6ea5", "unweighted": "#c8553d", "unlikelihood": "#6a8f3c"}
_LINES = {0.05: ":", 0.1: "-.", 0.5: "--", 1.0: "-"}


def plot(rows: list[Row], folder: Path) -> None:
    """Against steps, and the plane of both with the frontier."""
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.2), layout="constrained")
    runs: dict[tuple, list[Row]] = {}
    for row in rows:
        if row["arm"] in _COLOURS:
            key = row["arm"], row["strength"], row["data_seed"]
            runs.setdefault(key, []).append(row)
    named = set()
    for (arm, strength, _), run in runs.items():
        name = f"{arm}, α = {strength:g}" if arm == "unlikelihood" else arm
        style = {
            "color": _COLOURS[arm],
            "ls": _LINES[strength],
            "lw": 1,
            "label": None if name in named else name,
        }
        named.add(name)
        steps, kl, reward, forward = (
            [x[n] for x in run] for n in ("step", "kl", "reward", "forward_kl")
        )
        axes[0].plot(steps, reward, **style)
        axes[1].plot(steps, kl, **style)
        axes[2].plot(steps, forward, **style)
        axes[3].plot(kl, reward, **style)
    line = sorted((x["kl"], x["frontier_reward"]) for run in runs.values() for x in run)
    axes[3].plot(*zip(*line, strict=True), color="#555555", lw=1)
    axes[0].set(xscale="log", xlabel="updates", ylabel="reward, exact")
    axes[1].set(xscale="log", xlabel="updates", ylabel="KL(π ‖ π_ref), exact")
    axes[2].set(xscale="log", xlabel="updates", ylabel="KL(π_ref ‖ π), exact")
    axes[2].set(yscale="log")
    axes[3].set(xlabel="KL(π ‖ π_ref), exact", ylabel="reward, exact")
    axes[3].set_title("frontier in grey", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "weights.png", dpi=130)
    plt.close(figure)
