"""What biases and errors cost, from the rows of `results.csv` alone."""

import statistics
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.runner import Row

_COLOURS = {
    "one_order": "#c8553d",
    "both_orders": "#3b6ea5",
    "length_penalty": "#4b7f52",
}


def plot(rows: list[Row], folder: Path) -> None:
    """Gold reward and length against the biases; gold reward against flips."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    judged = [x for x in rows if x["arm"] in _COLOURS and x["gold"] == 1]
    lengths = sorted({x["length"] for x in judged})
    positions = sorted({x["position"] for x in judged})
    for arm, colour in _COLOURS.items():
        for q, style in zip(lengths, ("-", "--", ":"), strict=False):
            cells = [{"arm": arm, "length": q, "position": p} for p in positions]
            values = [_mean(judged, cell, "reward") for cell in cells]
            label = f"{arm.replace('_', ' ')}, q = {q:g}"
            axes[0].plot(
                positions, values, style, color=colour, marker=".", label=label
            )
        cells = [{"arm": arm, "length": q, "position": 0.0} for q in lengths]
        values = [_mean(judged, cell, "tokens_more") for cell in cells]
        axes[1].plot(lengths, values, "o-", color=colour, label=arm.replace("_", " "))
    axes[0].set(xlabel="position bias p", ylabel="gold reward of the optimum")
    axes[1].set(xlabel="length bias q", ylabel="tokens more than the reference")
    flips = sorted({x["flip"] for x in rows if x["arm"] == "verifier"})
    for arm, style in (("verifier", "-"), ("verifier_rloo", "o")):
        for name, colour in (("reward", "#3b6ea5"), ("paid", "#e0a100")):
            values = [_mean(rows, {"arm": arm, "flip": x}, name) for x in flips]
            label = f"{'gold reward' if name == 'reward' else 'pass rate'}, {arm}"
            axes[2].plot(flips, values, style, color=colour, label=label)
    axes[2].set(xlabel="share of wrong verdicts of the verifier")
    for ax in axes:
        ax.legend(frameon=False, fontsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "judge.png", dpi=130)
    plt.close(figure)


def _mean(rows: list[Row], cell: Row, name: str) -> float:
    return statistics.fmean(
        row[name] for row in rows if all(row[k] == v for k, v in cell.items())
    )
