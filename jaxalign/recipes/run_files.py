"""What a training run keeps in its folder: settings, checkpoints, metrics, results."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.model_card import model_card
from jaxalign.training import (
    Checkpoints,
    MetricsLog,
    RunFolder,
    draw_plots,
    make_mirrors,
    read_metrics,
)
from jaxalign.training.versions import versions

FREE = ("output_dir", "resume", "allow_change", "save_steps", "keep_last", "report_to")
"""Settings that an interrupted run may change without a word."""


def open_folder(config: TrainingConfig, fingerprints: Mapping[str, str]) -> RunFolder:
    """The run's folder, new or gone on with, as the settings say."""
    return RunFolder(
        config.output_dir,
        config=dataclasses.asdict(config),
        fingerprints=dict(fingerprints),
        resume=config.resume,
        allow_change=config.allow_change,
        free=FREE,
    )


class Files(NamedTuple):
    """What the training loop writes.

    Attributes:
      metrics: `metrics.jsonl` and its mirrors.
      checkpoints: `checkpoints/`.
      draw: Draws `plots/`; takes the step, as the loop calls it.
    """

    metrics: MetricsLog
    checkpoints: Checkpoints
    draw: Callable[[int], None]


def open_files(
    folder: Path, config: TrainingConfig, fingerprints: Mapping[str, str]
) -> Files:
    """Opens metrics and checkpoints of a run's folder."""
    mirrors = make_mirrors(
        config.report_to, folder, folder.name, dataclasses.asdict(config)
    )
    metrics = MetricsLog(folder / "metrics.jsonl", mirrors)
    checkpoints = Checkpoints(
        folder / "checkpoints",
        keep_last=config.keep_last,
        about={"versions": versions(), "fingerprints": dict(fingerprints)},
    )

    def draw(step: int) -> None:
        del step
        draw_plots(metrics.path, folder / "plots")

    return Files(metrics, checkpoints, draw)


def write_card(
    folder: Path, name: str, config: TrainingConfig, *, scores: bool = False
) -> str:
    """Draws the plots of a run that is over, and writes its model card.

    Args:
      folder: Of the run.
      name: Of the method.
      config: The settings.
      scores: Whether the model is a reward model.

    Returns:
      The card, which is `README.md`.
    """
    draw_plots(folder / "metrics.jsonl", folder / "plots")
    lines = [x for x in read_metrics(folder / "metrics.jsonl") if x["split"] == "eval"]
    results = {k: v for k, v in lines[-1].items() if k != "split"} if lines else {}
    settings = dataclasses.asdict(config)
    card = model_card(name, settings, results, versions(), scores=scores)
    (folder / "README.md").write_text(card, encoding="utf-8")
    return card
