"""The results of an evaluation: on the console, as JSON, as a picture."""

import io
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from jaxalign.recipes.evaluation.calibration import Diagrams
from jaxalign.recipes.evaluation.diagrams import paint_reliability, paint_risk_coverage
from jaxalign.recipes.evaluation.measure import Measure
from jaxalign.training.folder.own_files import write_bytes, write_text


class Results(NamedTuple):
    """What was found.

    Attributes:
      about: Model, reference, data and settings.
      measures: Numbers with intervals, by name.
      best_of_n: `{n: {"reward": ..., "kl_bound": ...}}`, empty without several samples.
      abstention: `{"all" | "known" | "unknown": shares}`, empty without that reward.
      abstains_by: The name of the reward that says what abstains.
      calibration: Bins and curve of stated confidences, if there are any.
    """

    about: dict[str, Any]
    measures: dict[str, Measure]
    best_of_n: dict[int, dict[str, float]]
    abstention: dict[str, dict[str, float]]
    abstains_by: str | None = None
    calibration: Diagrams | None = None


def show(results: Results, console: Console) -> None:
    """Prints the tables."""
    table = Table("measure", "value", "95 % interval", "rows")
    for name, (value, low, high, rows) in results.measures.items():
        table.add_row(name, f"{value:.4g}", f"{low:.4g} to {high:.4g}", str(rows))
    console.print(table)
    if results.abstention:
        table = Table("questions", "correct", "abstain", "wrong", "completions")
        if results.abstains_by:
            name = results.abstains_by
            console.print(f"what abstains is what the reward `{name}` says:")
        for group, row in results.abstention.items():
            shares = (f"{row[name]:.1%}" for name in ("correct", "abstain", "wrong"))
            table.add_row(group, *shares, f"{row['completions']:.0f}")
        console.print(table)
    if results.best_of_n:
        table = Table("best of", "mean reward", "KL to the model, at most")
        for n, row in results.best_of_n.items():
            table.add_row(str(n), f"{row['reward']:.4g}", f"{row['kl_bound']:.3f} nats")
        console.print(table)


def write(results: Results, folder: Path) -> None:
    """Writes `results.json` and `results.png`."""
    whole = {
        **results._asdict(),
        # JSON has no NaN; a measure without rows is null.
        "measures": {k: _finite(v) for k, v in results.measures.items()},
    }
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / "results.json", text + "\n")
    draw_results(results, folder / "results.png")


def _finite(measure: Measure) -> dict[str, float | int | None]:
    return {
        k: v if isinstance(v, int) or math.isfinite(v) else None
        for k, v in measure._asdict().items()
    }


def draw_results(results: Results, file: Path) -> None:
    """Draws each measure with its interval, and what there is of the two tables."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tables = [_abstention] * bool(results.abstention) + [_best_of] * (
        len(results.best_of_n) > 1
    )
    tables += [_reliability, _risk_coverage] * bool(results.calibration)
    known = {k: m for k, m in results.measures.items() if math.isfinite(m.value)}
    # Measures have units of their own: each gets an axis.
    rows = max(len(known), 1)
    figure = Figure(figsize=(7 + 4 * len(tables), 1 + 0.9 * rows), layout="constrained")
    # Not pyplot, which keeps every figure; the canvas makes itself the figure's.
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, 1 + len(tables))
    for i, (name, m) in enumerate(known.items()):
        axes = figure.add_subplot(grid[i, 0])
        axes.plot([m.low, m.high], [0, 0], color="tab:blue", linewidth=2)
        axes.plot([m.value], [0], "o", color="tab:blue")
        axes.set_yticks([0], [name])
        axes.grid(axis="x", alpha=0.3)
    for i, paint in enumerate(tables):
        paint(results, figure.add_subplot(grid[:, i + 1]))
    # In memory first: a file that is half drawn is never seen.
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120)
    write_bytes(file, drawn.getvalue())


def _abstention(results: Results, axes) -> None:
    groups, left = list(results.abstention), [0.0] * len(results.abstention)
    for name, color in (
        ("correct", "tab:green"),
        ("abstain", "tab:gray"),
        ("wrong", "tab:red"),
    ):
        shares = [results.abstention[group][name] for group in groups]
        axes.barh(groups, shares, left=left, color=color, label=name)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_xlabel("share of completions")
    # `all` on top, as in the table.
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))


def _reliability(results: Results, axes) -> None:
    paint_reliability(results.calibration or {}, axes)


def _risk_coverage(results: Results, axes) -> None:
    paint_risk_coverage(results.calibration or {}, axes)


def _best_of(results: Results, axes) -> None:
    sizes = list(results.best_of_n)
    axes.plot(sizes, [results.best_of_n[n]["reward"] for n in sizes], "o-")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("best of n samples")
    axes.set_ylabel("mean reward")
    axes.grid(alpha=0.3)
