"""How often a judge prefers the model's completions to those of a reference."""

import numpy as np

from jaxalign.recipes.evaluation.journal import Line, number
from jaxalign.recipes.evaluation.measure import Estimator, Measure
from jaxalign.recipes.evaluation.scoring import Answers
from jaxalign.recipes.judge import question_of
from jaxalign.rewards import preferences
from jaxalign.rewards.requests import Respond


def judged(
    answers: Answers,
    respond: Respond,
    template: str,
    estimator: Estimator,
    journal: list[Line],
) -> dict[str, Measure]:
    """How often ours beat theirs, over both orders, and how often there is a verdict.

    Args:
      answers: Of both checkpoints.
      respond: The judge.
      template: What it is asked.
      estimator: For the intervals.
      journal: A line per completion, which gets its chance to win.

    Returns:
      Two measures.
    """
    assert answers.theirs is not None
    wins = preferences(
        respond,
        [question_of(x) for x in answers.ours],
        [x.completion for x in answers.ours],
        [x.completion for x in answers.theirs],
        template=template,
    )
    for line, win in zip(journal, wins, strict=True):
        line["win_rate"] = number(win)
    # A judge that seldom gives a verdict says little, so their share stands beside it.
    found = {"win_rate/judge": wins, "judge/verdicts": np.isfinite(wins)}
    return {
        name: estimator.group_mean(name, answers.by_row(x)) for name, x in found.items()
    }
