"""How often a judge prefers the model's completions to those of a reference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxalign.recipes.evaluation.checkpoint import open_checkpoint
from jaxalign.recipes.evaluation.config import Config
from jaxalign.recipes.evaluation.journal import Line
from jaxalign.recipes.evaluation.measure import Estimator, Measure
from jaxalign.recipes.evaluation.scoring import Written
from jaxalign.recipes.scoring.asking import served_judge
from jaxalign.recipes.scoring.judge import respond_of
from jaxalign.recipes.scoring.judge_rewards import question_of
from jaxalign.rewards import preferences
from jaxalign.rewards.requests import Respond
from jaxalign.rewards.served.client import Clients
from jaxalign.training.folder.own_files import finite


def open_judge(config: Config) -> Callable[[], Respond] | None:
    """What opens the judge of the settings once there is room for it, or None.

    One that is served is looked at here already, and its replies lie in the output
    folder.
    """
    if not config.judge:
        return None
    name, clients = config.judge, Clients()
    served = served_judge(name, clients)
    if served is not None:
        clients.keep_in(Path(config.output_dir))
        return lambda: served.where_possible
    return lambda: respond_of(
        open_checkpoint(name, dtype=config.dtype), config.batch_size, shown=True
    )


def judge_against(
    written: Written,
    respond: Respond,
    template: str,
    estimator: Estimator,
    journal: list[Line],
) -> dict[str, Measure]:
    """How often ours beat theirs, over both orders, and how often there is a verdict.

    Args:
      written: Of both checkpoints.
      respond: The judge.
      template: What it is asked.
      estimator: For the intervals.
      journal: A line per completion, which gets its chance to win.

    Returns:
      Two measures.
    """
    assert written.theirs is not None
    wins = preferences(
        respond,
        [question_of(x) for x in written.ours],
        [x.completion for x in written.ours],
        [x.completion for x in written.theirs],
        template=template,
    )
    for line, win in zip(journal, wins, strict=True):
        line["win_rate"] = finite(win)
    # A judge that seldom gives a verdict says little, so their share stands beside it.
    found = {"win_rate/judge": wins, "judge/verdicts": np.isfinite(wins)}
    return {
        name: estimator.group_mean(name, written.by_row(x)) for name, x in found.items()
    }
