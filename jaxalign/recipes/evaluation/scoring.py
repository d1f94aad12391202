"""Sampled answers under rewards."""

import functools
from typing import Any, NamedTuple

import numpy as np

from jaxalign.recipes.evaluation.journal import Line, number
from jaxalign.recipes.evaluation.measure import (
    Estimator,
    Measure,
    abstention_table,
    best_of,
    win_rate,
)
from jaxalign.recipes.reward_failures import Failures
from jaxalign.rewards import Completion, Reward, Scores, score
from jaxalign.rewards.abstention import abstention, outcomes


class Answers(NamedTuple):
    """Answers to the same prompts; all of a prompt lie side by side.

    Attributes:
      ours: Of the model.
      theirs: Of the reference, or None.
      num_samples: How many to each prompt.
    """

    ours: list[Completion]
    theirs: list[Completion] | None
    num_samples: int

    def by_row(self, values) -> np.ndarray:
        """`[n]` values of answers as `[rows, samples]`."""
        return np.asarray(values, float).reshape(-1, self.num_samples)


def scored(
    answers: Answers, rewards: list[Reward], estimator: Estimator, journal: list[Line]
) -> tuple[dict[str, Measure], dict[int, dict[str, float]]]:
    """Means of the rewards, the win rate under their total, and best-of-n.

    Args:
      answers: What is scored.
      rewards: May be empty: then there are lengths only.
      estimator: For the intervals.
      journal: A line per answer, which gets its rewards.

    Returns:
      The measures, and what `best_of` finds where there are several samples.
    """
    means: dict[str, Any] = {}
    best, found, failures = {}, {}, Failures()
    if rewards:
        scores = _scores(rewards, answers.ours, failures)
        means = {f"rewards/{name}/mean": x for name, x in scores.values.items()}
        for name, faults in scores.faults.items():
            if faults:
                failed = [i in faults for i in range(len(answers.ours))]
                means[f"rewards/{name}/failed"] = failed
        if len(rewards) > 1:
            means["reward"] = scores.total
        if answers.num_samples > 1:
            best = best_of(answers.by_row(scores.total))
        for i, line in enumerate(journal):
            line["rewards"] = {k: number(x[i]) for k, x in scores.values.items()}
        if answers.theirs:
            theirs = _scores(rewards, answers.theirs, failures)
            totals = scores.total, theirs.total
            name = "win_rate/reward"
            found[name] = win_rate(estimator, name, *map(answers.by_row, totals))
    means["completions/mean_length"] = [len(c.ids) for c in answers.ours]
    means["completions/stopped"] = [c.stopped for c in answers.ours]
    found |= {
        name: estimator.group_mean(name, answers.by_row(x)) for name, x in means.items()
    }
    for line, other in zip(journal, answers.theirs or (), strict=False):
        line["ref_completion"] = other.completion
    return found, best


def _scores(
    rewards: list[Reward], completions: list[Completion], failures: Failures
) -> Scores:
    scores = score(rewards, completions)
    failures.tell(rewards, scores, completions)
    return scores


def abstentions(
    rewards: list[Reward], completions: list[Completion], known: str | None
) -> dict[str, dict[str, float]]:
    """The table of the first abstention reward, with its own parameters; else empty."""
    for reward in rewards:
        function, given = reward.function, {}
        if isinstance(function, functools.partial):
            function, given = function.func, function.keywords
        if function is abstention:
            names = ("column", "match", "refusals", "detector")
            options = {k: v for k, v in given.items() if k in names}
            return abstention_table(
                outcomes(completions, **options), completions, known
            )
    return {}
