"""What a run of PPO did, outcomes before and after, and values with intervals."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.real_model.stages import history

COLORS = {"correct": "tab:green", "abstain": "tab:gray", "wrong": "tab:red"}


def draw_training(run: Path, reward: str, file: Path) -> None:
    """Reward, KL and length of the answers of each iteration."""
    panels = {
        "reward": f"rewards/{reward}/mean",
        "KL to the start, nats per answer": "objective/kl",
        "tokens per answer": "completions/mean_length",
    }
    figure, axes = new_figure(len(panels))
    for ax, (title, name) in zip(axes, panels.items(), strict=True):
        ax.plot(*history(run, name))
        ax.set_title(title)
        ax.set_xlabel("iteration")
        ax.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


def draw_outcomes(tables: dict[str, dict[str, dict]], file: Path) -> None:
    """Shares of correct, abstaining and wrong answers, a panel for each group."""
    groups = list(next(iter(tables.values())))
    figure, axes = new_figure(len(groups))
    for ax, group in zip(axes, groups, strict=True):
        bottom = [0.0] * len(tables)
        for name, color in COLORS.items():
            shares = [table[group][name] for table in tables.values()]
            ax.bar(list(tables), shares, bottom=bottom, color=color, label=name)
            bottom = [a + b for a, b in zip(bottom, shares, strict=True)]
        ax.set_title(group)
        ax.set_ylim(0, 1)
    save_with_legend(figure, axes, file)


def draw_intervals(ax, rows: Iterable[dict[str, str]], x: str, y: str, **style: Any):
    """A point with its interval for each row of a table that has the value.

    Args:
      ax: To draw in.
      rows: Of `arms.Table`.
      x: Column across.
      y: Column upwards, which has its `_low` and `_high`.
      **style: For matplotlib's `errorbar`.
    """
    columns = (x, y, f"{y}_low", f"{y}_high")
    found = [[float(row[c]) for c in columns] for row in rows if row[y]]
    across, value, low, high = np.reshape(found, (-1, 4)).T
    # A percentile interval need not hold the mean of a skewed sample.
    errors = np.maximum([value - low, high - value], 0)
    ax.errorbar(across, value, errors, ms=4, **style)


def new_figure(count: int):
    """A figure with so many panels in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * count, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def save_with_legend(figure, axes, file: Path) -> None:
    """Writes a figure whose panels show the same, with one legend beside them."""
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    figure.savefig(file, dpi=120)
