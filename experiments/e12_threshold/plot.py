"""Where policies begin to answer, and what they state, from `results.csv` alone."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.runner import Row

_COLOURS = {
    "exact": "#3b6ea5",
    "trained": "#c8553d",
    "rloo_4": "#d9a441",
    "grpo_4": "#5b8c5a",
    "grpo_32": "#9ac29a",
}


def plot(rows: list[Row], folder: Path) -> None:
    """Crossings against t, and errors of stated confidences."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    for arm, colour in _COLOURS.items():
        told = [x for x in rows if x["arm"] == arm and x["threshold"]]
        if not told:
            continue
        left.plot(
            [x["threshold"] for x in told],
            [x["crossing"] for x in told],
            "o" if arm == "exact" else "x",
            color=colour,
            label=arm,
        )
    left.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
    left.set(
        xlabel="t that the reward has",
        ylabel="P(right) from which it answers",
        title="confidence_target",
    )
    left.legend(frameon=False)
    stated = [x for x in rows if x["reward"] != "confidence_target"]
    names = sorted({(x["reward"], x["arm"]) for x in stated})
    for i, (reward, arm) in enumerate(names):
        mine = [x for x in stated if (x["reward"], x["arm"]) == (reward, arm)]
        for metric, mark in (
            ("confidence_error_mean", "o"),
            ("confidence_error_max", "^"),
        ):
            values = [x[metric] for x in mine]
            right.plot([i] * len(values), values, mark, color=_COLOURS[arm])
    right.set_xticks(range(len(names)), [f"{r}\n{a}" for r, a in names])
    right.set(ylabel="|q − P(right)|", title="stated confidence: mean (o), largest (^)")
    figure.savefig(folder / "threshold.png", dpi=130)
    plt.close(figure)
