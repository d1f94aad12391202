"""Rewards run on completions and added up; a fault is never a silent zero."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards.calls import Call, is_async
from jaxalign.rewards.capture import split_stdout
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.faults import failure, outcome_of
from jaxalign.rewards.reward import Reward, RewardFunction


@dataclasses.dataclass(frozen=True)
class Scores:
    """What n completions were given.

    Attributes:
      values: `{reward name: [n] float64}`, NaN where that reward does not apply.
      total: `[n]` float64, the weighted sum of the rewards that apply; NaN where none
        does, so that forgetting `applies` cannot go unnoticed.
      applies: `[n]` bool, whether any reward applies.
      failed: `{reward name: completions that were given the fallback}`.
      printed: `{reward name: what the function wrote to standard output}`.
    """

    values: Mapping[str, np.ndarray]
    total: np.ndarray
    applies: np.ndarray
    failed: Mapping[str, int]
    printed: Mapping[str, str]


def score(
    rewards: Sequence[Reward | RewardFunction], completions: Sequence[Completion]
) -> Scores:
    """Runs every reward on all completions and adds them up by weight.

    Asynchronous functions run concurrently, and synchronous ones one after another in
    the meantime. A function that raises, hangs beyond its time limit or returns another
    number of values fails on all completions of the call; NaN, infinity and what is no
    number fail by themselves. Failed completions get the reward's `fallback`, or there
    is an error.

    Args:
      rewards: At least one; a bare function has its own name and weight 1.
      completions: At least one; each function gets all of them in one call.

    Returns:
      Values, total and what went wrong.

    Raises:
      UserError: A reward failed and has no fallback: what it did, on which completion.

    >>> def is_short(completions):
    ...     return [float(len(c.completion) < 5) for c in completions]
    >>> completions = [Completion("2 + 2?", "4"), Completion("Hm?", "So it is.")]
    >>> score([Reward("is_short", is_short, weight=0.5)], completions).total
    array([0.5, 0. ])
    """
    named, completions = _named(rewards), list(completions)
    if not completions:
        raise UserError("There is no completion to score: the list is empty.")
    columns, failed, printed = {}, {}, {}
    with split_stdout():
        started = {
            x.name: Call(x.function, completions, x.time_limit)
            for x in named
            if is_async(x.function)
        }
        # Those that are under way already are waited for last.
        for reward in sorted(named, key=lambda x: x.name in started):
            name, function = reward.name, reward.function
            call = started.get(name) or Call(function, completions, reward.time_limit)
            values, bad, fault = outcome_of(reward, call, completions)
            if fault is not None and reward.fallback is None:
                raise failure(reward, fault, completions)
            for i in bad:
                values[i] = reward.fallback
            columns[name] = np.array([np.nan if x is None else x for x in values])
            failed[name], printed[name] = len(bad), call.printed
    return _added_up(named, columns, failed, printed)


def _added_up(named: list[Reward], columns, failed, printed) -> Scores:
    weighted = np.stack([x.weight * columns[x.name] for x in named])
    applies = np.any(~np.isnan(weighted), axis=0)
    total = np.where(applies, np.nansum(weighted, axis=0), np.nan)
    in_order = {x.name: columns[x.name] for x in named}
    return Scores(in_order, total, applies, failed, printed)


def _named(rewards: Sequence[Reward | RewardFunction]) -> list[Reward]:
    if not rewards:
        raise UserError("There is no reward to score with; give at least one.")
    named = [
        x if isinstance(x, Reward) else Reward(getattr(x, "__name__", "reward"), x)
        for x in rewards
    ]
    names = [x.name for x in named]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"Two rewards are called `{name}`. Give each a name of its own: "
                "Reward(name, function)."
            )
    return named
