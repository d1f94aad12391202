"""Rewards run on completions and added up; a fault is never a silent zero."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards.calls import Call
from jaxalign.rewards.capture import split_stdout
from jaxalign.rewards.columns import refuse_unknown_step
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.faults import Fault, Pending, failure
from jaxalign.rewards.pieces import TOGETHER, Outcome, culprit, in_pieces, of_whole
from jaxalign.rewards.reward import Reward, RewardFunction, is_async
from jaxalign.rewards.user.function import UserFunction


@dataclasses.dataclass(frozen=True)
class Scores:
    """What n completions were given.

    Attributes:
      values: `{reward name: [n] float64}`, NaN where that reward does not apply.
      total: `[n]` float64, the weighted sum of the rewards that apply; NaN where none
        does, so that forgetting `applies` cannot go unnoticed.
      applies: `[n]` bool, whether any reward applies.
      failed: `{reward name: completions that were given the fallback}`.
      printed: `{reward name: what the function wrote to standard output}`; for one with
        a process of its own, what the process wrote in the meantime.
      faults: `{reward name: {position: what happened there}}` of those that failed.
    """

    values: Mapping[str, np.ndarray]
    total: np.ndarray
    applies: np.ndarray
    failed: Mapping[str, int]
    printed: Mapping[str, str]
    faults: Mapping[str, Mapping[int, Fault]] = dataclasses.field(default_factory=dict)


def score(
    rewards: Sequence[Reward | RewardFunction], completions: Sequence[Completion]
) -> Scores:
    """Runs every reward on all completions and adds them up by weight.

    A function gets all completions in one call. One that raises, hangs beyond its time
    limit, ends its process or returns another number of values has failed on all of
    them; NaN, infinity and what is no number fail by themselves. Without a fallback
    that is an error. With one, a call that failed as a whole is made again in pieces
    (see `pieces`), so that only those completions get the fallback on which the
    function fails.

    Asynchronous functions run concurrently, and synchronous ones of this process one
    after another in the meantime. The functions of a file or module, which have a
    process of their own, have its main thread and event loop: the synchronous ones
    follow on the others.

    Args:
      rewards: At least one; a bare function has its own name and weight 1.
      completions: At least one.

    Returns:
      Values, total and what went wrong.

    Raises:
      UserError: A reward failed and has no fallback, or its process ended on every
        completion: what it did, on which completion.

    >>> def is_short(completions):
    ...     return [float(len(c.completion) < 5) for c in completions]
    >>> completions = [Completion("2 + 2?", "4"), Completion("Hm?", "So it is.")]
    >>> score([Reward("is_short", is_short, weight=0.5)], completions).total
    array([0.5, 0. ])
    """
    named, completions = _named(rewards), list(completions)
    if not completions:
        raise UserError("There is no completion to score: the list is empty.")
    for x in named:
        own = isinstance(x.function, UserFunction) and x.function.needs_step
        if own and completions[0].step is None:
            raise refuse_unknown_step(x.name)
    outcomes: dict[str, Outcome] = {}
    with split_stdout():
        started = {
            x.name: _begin(x, completions)
            for x in named
            if _is_async(x) and not _is_careful(x)
        }
        for x in sorted(named, key=_turn):
            outcomes[x.name] = _outcome(x, started.get(x.name), completions)
    return _added_up(named, outcomes)


def _outcome(
    reward: Reward, whole: Pending | None, completions: list[Completion]
) -> Outcome:
    """What a reward gave, once it was called as often as need be."""
    begin = functools.partial(_begin, reward)
    together = TOGETHER if _is_async(reward) else 1
    printed = ""
    if whole is None and _is_careful(reward):
        outcome = in_pieces(begin, completions, together)
    else:
        given = (whole or begin(completions)).wait()
        outcome, fault = of_whole(given, len(completions)), given.fault
        if fault is not None and len(completions) > 1:
            if reward.fallback is None:
                limit = reward.time_limit
                if fault.kind in ("raised", "died"):
                    at = culprit(begin, completions, limit)
                    fault = at or fault
                raise failure(reward, fault, completions)
            printed = outcome.printed
            if isinstance(reward.function, UserFunction):
                reward.function.careful = True
            # Side by side, one that breaks its process would take the others along.
            if fault.kind in ("hung", "died"):
                together = 1
            outcome = in_pieces(begin, completions, together)
    first = outcome.first
    died = len(outcome.faults) == len(completions) and any(
        x.kind == "died" for x in outcome.faults.values()
    )
    if first is not None and (reward.fallback is None or died):
        raise failure(reward, first, completions)
    return outcome._replace(printed=printed + outcome.printed)


def _begin(reward: Reward, completions: list[Completion]) -> Pending:
    if isinstance(reward.function, UserFunction):
        return reward.function.begin(completions, reward.time_limit)
    return Call(reward.function, completions, reward.time_limit)


def _is_async(reward: Reward) -> bool:
    function = reward.function
    return (
        function.is_async if isinstance(function, UserFunction) else is_async(function)
    )


def _is_careful(reward: Reward) -> bool:
    """Whether the function has failed before, and is called in pieces at once."""
    return (
        isinstance(reward.function, UserFunction)
        and reward.function.careful
        and reward.fallback is not None
    )


def _turn(reward: Reward) -> int:
    """Those under way already are waited for late, before what needs their process."""
    if _is_async(reward):
        return 1
    return 2 if isinstance(reward.function, UserFunction) else 0


def _added_up(named: list[Reward], outcomes: Mapping[str, Outcome]) -> Scores:
    values = {}
    for x in named:
        outcome = outcomes[x.name]
        for i in outcome.faults:
            outcome.values[i] = x.fallback
        values[x.name] = np.array(
            [np.nan if v is None else v for v in outcome.values], np.float64
        )
    weighted = np.stack([x.weight * values[x.name] for x in named])
    applies = np.any(~np.isnan(weighted), axis=0)
    # To nansum a completion without any reward has 0, as if it had been judged.
    total = np.where(applies, np.nansum(weighted, axis=0), np.nan)
    return Scores(
        values,
        total,
        applies,
        {x.name: len(outcomes[x.name].faults) for x in named},
        {x.name: outcomes[x.name].printed for x in named},
        {x.name: outcomes[x.name].faults for x in named},
    )


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
