"""Measures of sampled completions under rewards."""

import functools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxalign.errors import UserError
from jaxalign.recipes.evaluation.journal import Line
from jaxalign.recipes.evaluation.measure import (
    Estimator,
    Measure,
    abstention_table,
    best_of,
    win_rate,
)
from jaxalign.recipes.scoring.judge_rewards import JUDGED_ABSTENTION
from jaxalign.recipes.scoring.reward_failures import Failures
from jaxalign.rewards import Completion, Reward, Scores, score
from jaxalign.rewards.abstention import Outcome, abstention
from jaxalign.training.folder.own_files import finite

_LOG = logging.getLogger("jaxalign")
BY_OUTCOME = (abstention.__name__, JUDGED_ABSTENTION)
# The defaults of both.
_VALUES: dict[Outcome, float] = {"correct": 1.0, "abstain": 0.0, "wrong": -1.0}


class Written(NamedTuple):
    """Completions of the same prompts; all of a prompt lie side by side.

    Attributes:
      ours: Of the model.
      theirs: Of the reference, or None.
      num_samples: How many of each prompt.
    """

    ours: list[Completion]
    theirs: list[Completion] | None
    num_samples: int

    def by_row(self, values) -> np.ndarray:
        """`[n]` values of completions as `[rows, samples]`."""
        return np.asarray(values, float).reshape(-1, self.num_samples)


def score_completions(
    written: Written, rewards: list[Reward], estimator: Estimator, journal: list[Line]
) -> tuple[dict[str, Measure], dict[int, dict[str, float]], Scores | None]:
    """Means of the rewards, the win rate under their total, and best-of-n.

    Args:
      written: What is scored.
      rewards: May be empty: then there are lengths only.
      estimator: For the intervals.
      journal: A line per completion, which gets its rewards.

    Returns:
      The measures, what `best_of` finds where there are several samples, and what the
      model's own completions were given; None without rewards.
    """
    means: dict[str, Any] = {}
    best, found, failures, scores = {}, {}, Failures(), None
    if rewards:
        scores = _scores(rewards, written.ours, failures)
        means = {f"rewards/{name}/mean": x for name, x in scores.values.items()}
        for name, faults in scores.faults.items():
            if faults:
                failed = [i in faults for i in range(len(written.ours))]
                means[f"rewards/{name}/failed"] = failed
        # The total of one reward says nothing new.
        if len(rewards) > 1:
            means["reward"] = scores.total
        if written.num_samples > 1:
            best = best_of(written.by_row(scores.total))
        for i, line in enumerate(journal):
            line["rewards"] = {k: finite(x[i]) for k, x in scores.values.items()}
        if written.theirs:
            theirs = _scores(rewards, written.theirs, failures)
            totals = scores.total, theirs.total
            name = "win_rate/reward"
            found[name] = win_rate(estimator, name, *map(written.by_row, totals))
    means["completions/mean_length"] = [len(c.ids) for c in written.ours]
    means["completions/stopped"] = [c.stopped for c in written.ours]
    found |= {
        name: estimator.group_mean(name, written.by_row(x)) for name, x in means.items()
    }
    # Without a reference there is nothing to write.
    for line, other in zip(journal, written.theirs or (), strict=False):
        line["ref_completion"] = other.completion
    return found, best, scores


def _scores(
    rewards: list[Reward], completions: list[Completion], failures: Failures
) -> Scores:
    scores = score(rewards, completions)
    failures.tell(rewards, scores, completions)
    return scores


def by_outcome(reward: Reward) -> dict[Outcome, float] | None:
    """What a reward gives for each outcome; None if it is none of the abstention kind.

    >>> by_outcome(Reward("abstention", functools.partial(abstention, wrong=-3.0)))
    {'correct': 1.0, 'abstain': 0.0, 'wrong': -3.0}
    """
    function, given = reward.function, {}
    # Parameters of a built-in reward are bound to it by a partial.
    if isinstance(function, functools.partial):
        function, given = function.func, function.keywords
    # By name: the judged one is a function made anew for each call of `judges`.
    if getattr(function, "__name__", "") not in BY_OUTCOME:
        return None
    return {k: given.get(k, v) for k, v in _VALUES.items()}


def abstention_reward_of(rewards: list[Reward], known: str | None) -> Reward | None:
    """The first reward whose values say what abstains.

    Args:
      rewards: Of the evaluation.
      known: As `abstention_table` takes it.

    Raises:
      UserError: There is none to split by `known`, or two of its values are equal.
    """
    for reward in rewards:
        values = by_outcome(reward)
        if values is None:
            continue
        # Outcomes are read off the values, which must differ for that.
        if len(set(values.values())) == 3:
            return reward
        same = ", ".join(f"{k}={v:g}" for k, v in values.items())
        why = (
            f"the values of the reward `{reward.name}` do not tell its outcomes apart "
            f"({same}), so there is no table of them. Give it three different ones."
        )
        if known:
            raise UserError(f"--known {known}: {why}")
        _LOG.warning(why)
    if known:
        raise UserError(
            "--known splits the outcomes of --reward abstention or judged_abstention. "
            "What a function of your own says of abstentions cannot be seen in its "
            "values; let it call `abstention`, and pass that as another reward."
        )
    return None


def outcomes_by(reward: Reward, scores: Scores) -> list[Outcome | None]:
    """The outcomes that an abstention reward's values stand for; its own detector's.

    None where it failed, or does not apply.
    """
    values = by_outcome(reward) or {}
    outcomes: dict[float, Outcome] = {v: outcome for outcome, v in values.items()}
    failed = scores.faults.get(reward.name, {})
    return [
        None if i in failed else outcomes.get(value)
        for i, value in enumerate(scores.values[reward.name])
    ]


def abstentions(
    outcomes: Sequence[Outcome | None],
    completions: Sequence[Completion],
    known: str | None,
) -> dict[str, dict[str, float]]:
    """The table of outcomes; completions without one are in no row of it."""
    pairs = zip(outcomes, completions, strict=True)
    given: list[tuple[Outcome, Completion]] = [
        (x, c) for x, c in pairs if x is not None
    ]
    return abstention_table([x for x, _ in given], [c for _, c in given], known)
