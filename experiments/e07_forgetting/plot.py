"""What is kept against what is learned, from the rows of `results.csv` alone."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.runner import Row

_COLOURS = {"sft_canonical": "#c8553d", "sft_oracle": "#e0a100", "rl": "#3b6ea5"}


def plot(rows: list[Row], folder: Path) -> None:
    """The second task against the first one, and against the distance moved."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    for row in rows:
        new, kept, kl = (
            [float(x) for x in row[f"{name}_curve"].split()]
            for name in ("new", "kept", "kl")
        )
        colour = _COLOURS[row["arm"]]
        left.plot(new, kept, color=colour, lw=1, label=row["arm"].replace("_", " "))
        right.plot(kl, kept, color=colour, lw=1)
        right.plot(row["kl"], row["kept"], "o", color=colour)
    left.axvline(0.95, color="0.6", lw=0.8, ls=":")
    left.set(xlabel="right under the new rule", ylabel="right in the other task")
    right.set(xscale="symlog", xlabel="KL(π ‖ base); dots: the new rule at .95")
    handles, labels = left.get_legend_handles_labels()
    first = {name: handle for handle, name in zip(handles, labels, strict=True)}
    left.legend(first.values(), first.keys(), frameon=False)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "forgetting.png", dpi=130)
    plt.close(figure)
