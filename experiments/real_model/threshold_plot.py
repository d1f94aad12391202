"""What policies do under each threshold, from the table alone."""

from pathlib import Path

from experiments.real_model.arms import Table
from experiments.real_model.plots import (
    draw_intervals,
    new_figure,
    save_with_legend,
)

PANELS = {
    "answered": "answered, share of the questions",
    "right": "right, share of what is answered",
    "reward": "reward of a question",
}


def draw_thresholds(table: Path, file: Path) -> None:
    """A panel for each measure, a line for each policy and seed, against t."""
    rows = Table(table).rows
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    figure, axes = new_figure(len(PANELS))
    for ax, (name, title) in zip(axes, PANELS.items(), strict=True):
        for arm, seed in dict.fromkeys((row["arm"], row["seed"]) for row in rows):
            mine = [row for row in rows if (row["arm"], row["seed"]) == (arm, seed)]
            label = arm if seed == rows[0]["seed"] else None  # once in the legend
            style = {"marker": "o", "color": f"C{arms.index(arm)}", "label": label}
            draw_intervals(ax, mine, "parameter", name, **style)
        ax.set_title(title)
        ax.set_xlabel("threshold told in the prompt")
        ax.grid(alpha=0.3)
    save_with_legend(figure, axes, file)
