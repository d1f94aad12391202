"""What a training run keeps in its folder: settings, checkpoints, metrics, results."""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from jaxalign.os_errors import disk_is_full, in_a_sentence
from jaxalign.recipes.flags.config import TrainingConfig
from jaxalign.recipes.runs.model_card import model_card
from jaxalign.training import (
    Checkpoints,
    MetricsLog,
    RunFolder,
    draw_plots,
    make_mirrors,
    read_metrics,
)
from jaxalign.training.folder.own_files import make_folder, set_aside, write_text
from jaxalign.training.folder.versions import versions

_LOG = logging.getLogger("jaxalign")

FREE = ("output_dir", "resume", "allow_change", "save_steps", "keep_last", "report_to")
"""Settings that an interrupted run may change without a word."""


def open_run_folder(
    config: TrainingConfig, fingerprints: Mapping[str, str]
) -> RunFolder:
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


def open_run_files(
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
        about={
            "versions": versions(),
            "fingerprints": dict(fingerprints),
            "config": dataclasses.asdict(config),
            # Paths in settings are absolute: a run that was moved knows its own by it.
            "place": os.getcwd(),
        },
    )
    return Files(metrics, checkpoints, lambda step: _draw(folder))


def _draw(folder: Path) -> None:
    """Draws `plots/`; that it fails is no reason for a run to end."""
    metrics, newest = folder / "metrics.jsonl", folder / "plots" / "loss.png"
    try:
        if newest.is_file() and newest.stat().st_mtime > metrics.stat().st_mtime:
            return  # nothing was logged since
        draw_plots(metrics, make_folder(folder / "plots"))
    # Plots are for looking at; only a full disk would stop the rest as well.
    except Exception as error:
        if disk_is_full(error):
            raise
        _LOG.warning("no plots are drawn: %s", in_a_sentence(error))


def export_place(
    folder: RunFolder, config: TrainingConfig, step: int, console: Console
) -> Path | None:
    """Where the trained model is to be exported; None if it is there or not wanted.

    Args:
      folder: Of the run.
      config: The settings.
      step: The last one. A model that was exported after an earlier one is set aside.
      console: Where people read.
    """
    export = folder.path / "export"
    if not config.export:
        return None
    # Killed between the export and its record: it is whole, and of the step where
    # training ended, from which this start goes on.
    of_step = folder.start_step if folder.exported is None else folder.exported
    if of_step == step and (export / "config.json").is_file():
        console.print(f"the model is in {export}")
        return None
    if os.path.lexists(export):
        set_aside(export, f"the model of step {step} takes its place")
    return export


def write_card(
    folder: Path, name: str, config: TrainingConfig, source: Path, *, scores: bool
) -> str:
    """Draws the plots of a run that is over, and writes its model card.

    Args:
      folder: Of the run.
      name: Of the method.
      config: The settings.
      source: The folder of the base model.
      scores: Whether the model is a reward model.

    Returns:
      The card, which is `README.md`.
    """
    _draw(folder)
    lines = [x for x in read_metrics(folder / "metrics.jsonl") if x["split"] == "eval"]
    results = {k: v for k, v in lines[-1].items() if k != "split"} if lines else {}
    settings = dataclasses.asdict(config)
    card = model_card(name, settings, results, versions(), scores=scores, source=source)
    write_text(folder / "README.md", card)
    return card
