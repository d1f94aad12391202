"""Reward and KL divergence along training, from the rows of `results.csv` alone."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.enumlm.learners import POLICIES, named
from experiments.results import Row

_COLOURS = {"dpo": "#3b6ea5", "unweighted": "#c8553d", "unlikelihood": "#6a8f3c"}
_LINES = {0.05: ":", 0.1: "-.", 0.5: "--", 1.0: "-"}
_PANELS = {
    "reward": "reward, exact",
    "kl": "KL(π ‖ π_ref), exact",
    "forward_kl": "KL(π_ref ‖ π), exact",
    "repeated": "share of repeated symbols, exact",
}


def plot(rows: list[Row], folder: Path) -> None:
    """For either policy: against updates, and the plane of reward and KL."""
    figure, axes = plt.subplots(2, 5, figsize=(20, 8), layout="constrained")
    for policy, mine in zip(POLICIES, axes, strict=True):
        _policy(mine, rows, policy)
    figure.savefig(folder / "weights.png", dpi=80)
    plt.close(figure)


def _policy(axes, rows: list[Row], policy: str) -> None:
    arms = {named(policy, arm): arm for arm in _COLOURS}
    runs: dict[tuple, list[Row]] = {}
    for row in rows:
        if row["arm"] in arms:
            key = arms[row["arm"]], row["strength"], row["data_seed"]
            runs.setdefault(key, []).append(row)
    labels = set()
    for (arm, strength, _), run in runs.items():
        label = f"{arm}, α = {strength:g}" if arm == "unlikelihood" else arm
        style = {
            "color": _COLOURS[arm],
            "ls": _LINES[strength],
            "lw": 1,
            "label": None if label in labels else label,
        }
        labels.add(label)
        for ax, name in zip(axes, _PANELS, strict=False):
            ax.plot([x["step"] for x in run], [x[name] for x in run], **style)
        axes[4].plot([x["kl"] for x in run], [x["reward"] for x in run], **style)
    line = sorted((x["kl"], x["frontier_reward"]) for run in runs.values() for x in run)
    axes[4].plot(*zip(*line, strict=True), color="#555555", lw=1)
    for ax, label in zip(axes, _PANELS.values(), strict=False):
        ax.set(xscale="log", xlabel=f"updates, {policy}", ylabel=label)
    axes[2].set(yscale="log")
    axes[4].set(xlabel=_PANELS["kl"], ylabel=_PANELS["reward"])
    axes[4].set_title("frontier in grey", fontsize=9)
    axes[0].legend(frameon=False, fontsize=8)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
