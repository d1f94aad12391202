"""What comes out: table, plot, `results.json`, and the check against expectations."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from rich.console import Console
from rich.table import Table

from experiments.quickstart.answers import Shares, held_out, judge
from experiments.quickstart.world import World

Answers = Mapping[str, Mapping[str, Sequence[str]]]
"""`{model: {"known" or "unknown": answers}}`, about `held_out` people."""
Results = Mapping[str, Mapping[str, Shares]]
"""`{model: {"known" or "unknown": Shares}}`, of the same answers."""

_COLOURS = {"correct": "#3a923a", "abstains": "#c9c9c9", "wrong": "#c03d3e"}


def judge_all(world: World, answers: Answers) -> Results:
    truths = {
        group: [world.answer(i) for i in people]
        for group, people in held_out(world).items()
    }
    return {
        model: {group: judge(said, truths[group]) for group, said in groups.items()}
        for model, groups in answers.items()
    }


def print_examples(world: World, answers: Answers, console: Console) -> None:
    """What each model says about the first person of both groups."""
    for group, (person, *_) in held_out(world).items():
        truth = f"({group}; the truth is {world.answer(person).removesuffix(' .')})"
        console.print(f"\n{world.question(person)}  {truth}", highlight=False)
        for model, groups in answers.items():
            console.print(f"  {model:5} {groups[group][0]}", highlight=False)


def print_table(results: Results, console: Console) -> None:
    table = Table(title="Where was ... born? Greedy answers about held-out people")
    table.add_column("model")
    for group in ("known", "unknown"):
        for outcome in Shares._fields:
            table.add_column(f"{group}\n{outcome}", justify="right")
    for stage, groups in results.items():
        cells = [f"{x:.1%}" for group in groups.values() for x in group]
        table.add_row(stage, *cells)
    console.print()
    console.print(table)


def save_results(results: Results, seed: int, folder: Path) -> None:
    stages = {
        stage: {group: shares._asdict() for group, shares in groups.items()}
        for stage, groups in results.items()
    }
    text = json.dumps({"seed": seed, "stages": stages}, indent=2)
    (folder / "results.json").write_text(text + "\n")


def save_plot(results: Results, file: Path) -> None:
    """One stacked bar per model, people the model knows beside those it does not."""
    figure, axes = plt.subplots(1, 2, figsize=(7, 3), sharey=True, layout="constrained")
    for ax, group in zip(axes, ("known", "unknown"), strict=True):
        bottom = [0.0] * len(results)
        for outcome, colour in _COLOURS.items():
            heights = [getattr(x[group], outcome) for x in results.values()]
            ax.bar(list(results), heights, 0.7, bottom, color=colour, label=outcome)
            bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
        ax.set_title(f"birthplace {group}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of answers")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def check(results: Results, expected: Mapping, console: Console) -> bool:
    """Compares with `expected.json`; prints a line per number."""
    passed = True
    for line in expected["checks"]:
        value = getattr(results[line["model"]][line["group"]], line["outcome"])
        ok = line["at_least"] <= value <= line["at_most"]
        passed &= ok
        name = f"{line['model']} {line['group']} {line['outcome']}"
        console.print(
            f"{'ok  ' if ok else 'FAIL'} {name:22} {value:.3f}, expected"
            f" {line['measured']:.3f}, allowed {line['at_least']:.2f} to"
            f" {line['at_most']:.2f}",
            style=None if ok else "bold red",
            highlight=False,
        )
    return passed
