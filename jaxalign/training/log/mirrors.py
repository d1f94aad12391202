"""Optional mirrors of the metrics: TensorBoard and Weights & Biases."""

import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxalign.errors import UserError
from jaxalign.os_errors import in_a_sentence
from jaxalign.training.log.metrics import Mirror

_LOG = logging.getLogger("jaxalign")


def make_mirrors(
    names: tuple[str, ...], folder: pathlib.Path, run_name: str, config: dict[str, Any]
) -> list[Mirror]:
    """Opens the mirrors called `tensorboard` and `wandb`.

    One that does not start (no login, no network, no room for its files) is left out
    with a warning: `metrics.jsonl` has everything that it would have shown.

    Args:
      names: Which of the two.
      folder: The run's.
      run_name: What the run is called there.
      config: Shown beside it.

    Returns:
      One mirror for each name that started.

    Raises:
      UserError: A name is unknown, or its package is not installed.
    """
    known = {"tensorboard": ("tensorboardX", "tensorboard"), "wandb": ("wandb",) * 2}
    mirrors: list[Mirror] = []
    for name in names:
        if name not in known:
            raise UserError(
                f"report_to must be among {', '.join(known)}, got {name!r}; "
                "mend --report-to"
            )
        package, extra = known[name]
        try:
            if name == "tensorboard":
                mirrors.append(TensorBoard(folder / "tensorboard"))
            else:
                mirrors.append(WandB(folder, run_name, config))
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError) and error.name == package:
                raise UserError(
                    f"report_to: {name} needs the package {package}; install "
                    f"jaxalign[{extra}], or leave it out of --report-to"
                ) from error
            _LOG.warning(
                "%s does not start and gets no metrics, which metrics.jsonl keeps: %s",
                name,
                in_a_sentence(error),
            )
    return mirrors


class TensorBoard:
    """Event files below `folder`, tags `train/loss`, `eval/loss`, ..."""

    def __init__(self, folder: pathlib.Path):
        """Opens a writer of event files."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Adds one scalar per metric."""
        for tag, value in tagged(split, values).items():
            self._writer.add_scalar(tag, value, step)

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


class WandB:
    """A Weights & Biases run whose x-axis is `train/step`.

    W&B drops steps that go backwards, as they do after a resume, so the step is a
    metric of its own here.
    """

    def __init__(self, folder: pathlib.Path, run_name: str, config: dict[str, Any]):
        """Starts a run, or goes on with the one of the same name."""
        import wandb  # pyright: ignore[reportMissingImports]: optional

        self._run = wandb.init(
            dir=str(folder), id=run_name, name=run_name, config=config, resume="allow"
        )
        self._run.define_metric("train/step")
        self._run.define_metric("*", step_metric="train/step")

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Logs one line."""
        self._run.log({"train/step": step, **tagged(split, values)})

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


def tagged(split: str, values: Mapping[str, float]) -> dict[str, float]:
    """`train/...` and `eval/...` names, as dashboards expect them.

    >>> tagged("eval", {"eval_loss": 1.0})
    {'eval/loss': 1.0}
    """
    return {f"{split}/{name.removeprefix('eval_')}": v for name, v in values.items()}
