"""Reward against KL, from a table alone."""

from pathlib import Path

from experiments.real_model.arms import Table
from experiments.real_model.plots import (
    draw_intervals,
    new_figure,
    save_with_legend,
)

PANELS = {
    "positive, by the second classifier": "positive",
    "reward that was trained on": "reward",
}


def draw_frontier(table: Path, file: Path) -> None:
    """A panel for each judge; seeds and parameters of an arm have one colour."""
    rows = Table(table).rows
    figure, axes = new_figure(len(PANELS))
    for ax, (title, name) in zip(axes, PANELS.items(), strict=True):
        for number, arm in enumerate(dict.fromkeys(row["arm"] for row in rows)):
            mine = [row for row in rows if row["arm"] == arm]
            style = {"fmt": "o", "color": f"C{number}", "label": arm}
            draw_intervals(ax, mine, "kl", name, **style)
        ax.set_title(title)
        ax.set_xlabel("KL to the SFT policy, nats per completion")
        ax.grid(alpha=0.3)
    save_with_legend(figure, axes, file)
