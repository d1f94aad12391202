"""Plots of a run, drawn from its `metrics.jsonl` alone."""

import io
import pathlib
import re
from collections.abc import Sequence

from jaxalign.training.folder.own_files import write_bytes
from jaxalign.training.log.metrics import read_metrics

_FIGURES = {
    "loss": r"loss|nll_loss|policy_loss|log_loss",
    "reward": r"rewards?(/chosen|/rejected|/margins)?|mean_reward|margin",
    "accuracy": r"rewards/accuracies|accuracy|mean_token_accuracy",
    "calibration_error": r"calibration_error",
    "kl": r"kl|objective/kl",
    "logps": r"logps/(chosen|rejected)",
    "grad_norm": r"grad_norm",
    "learning_rate": r"learning_rate|lr",
}


def draw_plots(metrics: str | pathlib.Path, folder: str | pathlib.Path) -> list[str]:
    """Draws a PNG for each group of metrics that the file has.

    Args:
      metrics: A `metrics.jsonl`.
      folder: Where `loss.png`, `accuracy.png`, ... go; made if needed.

    Returns:
      The names of the files drawn.
    """
    series: dict[str, tuple[list[int], list[float]]] = {}
    for line in read_metrics(metrics):
        for name, value in line.items():
            if name not in ("step", "split") and value is not None:
                steps, values = series.setdefault(name, ([], []))
                steps.append(line["step"])
                values.append(value)
    drawn = []
    for title, pattern in _FIGURES.items():
        matching = {
            name: points
            for name, points in sorted(series.items())
            if re.fullmatch(pattern, name.removeprefix("eval_"))
        }
        if matching:
            _draw(pathlib.Path(folder) / f"{title}.png", title, matching)
            drawn.append(f"{title}.png")
    return drawn


def draw_reliability(
    path: str | pathlib.Path,
    confidence: Sequence[float],
    accuracy: Sequence[float],
    count: Sequence[float],
) -> None:
    """Draws how often a model that claims some confidence is right.

    Args:
      path: The PNG; its folder is made if needed.
      confidence: Mean confidence in each bin, from 0.5 to 1.
      accuracy: Share that was right.
      count: Comparisons in the bin, shown by the size of its point.
    """
    axes, figure = _axes()
    axes.plot([0.5, 1], [0.5, 1], "--", color="grey", label="calibrated", linewidth=1)
    total = max(sum(count), 1)
    axes.scatter(confidence, accuracy, [10 + 400 * n / total for n in count])
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0.48, 1.02))
    axes.legend(frameon=False)
    _save(figure, pathlib.Path(path))


def _draw(path: pathlib.Path, title: str, series) -> None:
    axes, figure = _axes()
    for name, (steps, values) in series.items():
        held_out = name.startswith("eval_")
        style = "o--" if held_out else "-"
        axes.plot(steps, values, style, label=name, linewidth=1.2, markersize=4)
    axes.set_xlabel("step")
    axes.set_ylabel(title.replace("_", " "))
    axes.legend(frameon=False)
    _save(figure, path)


def _axes():
    # Not pyplot: it keeps every figure, and picks a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    FigureCanvasAgg(figure)
    # A layout that is computed draws everything twice.
    axes = figure.add_axes((0.12, 0.13, 0.85, 0.81))
    axes.grid(alpha=0.3)
    return axes, figure


def _save(figure, path: pathlib.Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    write_bytes(path, drawn.getvalue())
