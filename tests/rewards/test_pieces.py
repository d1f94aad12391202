"""One failing completion costs only itself, and nothing is asked a third time."""

import asyncio
import collections
from typing import Any

import pytest

from jaxalign.errors import UserError
from jaxalign.rewards import Completion, Reward, score
from jaxalign.rewards.faults import Fault, Given
from jaxalign.rewards.pieces import MOST_BROKEN, culprit, in_pieces


def rows(*lengths, prompts=None):
    """Completions of these lengths, all of one prompt unless there are several."""
    prompts = [0] * len(lengths) if prompts is None else prompts
    return [
        Completion(f"p{p}", "x" * n, index=p)
        for n, p in zip(lengths, prompts, strict=True)
    ]


class Judge:
    """Gives 1/length, raises on empty completions, and keeps its bill."""

    def __init__(self):
        self.calls = []

    def __call__(self, completions):
        self.calls.append([len(c.completion) for c in completions])
        return [1 / len(c.completion) for c in completions]


def test_sixty_three_of_sixty_four_keep_their_reward():
    judge, lengths = Judge(), [1] * 20 + [0] + [2] * 43
    scores = score([Reward("judge", judge, fallback=-1.0)], rows(*lengths))
    assert scores.total.tolist() == [1.0] * 20 + [-1.0] + [0.5] * 43
    assert scores.failed == {"judge": 1}
    assert list(scores.faults["judge"]) == [20]
    bill = collections.Counter(n for call in judge.calls for n in call)
    assert bill == {1: 2 * 20, 0: 2, 2: 2 * 43}
    assert len(judge.calls) <= 65


def test_the_completions_of_a_prompt_stay_together_where_they_can():
    """A function that compares them sees what it would have seen."""
    judge = Judge()
    given = rows(1, 2, 0, 4, 5, 5, prompts=[0, 0, 1, 1, 2, 2])
    scores = score([Reward("judge", judge, fallback=-1.0)], given)
    assert scores.total.tolist() == [1.0, 0.5, -1.0, 0.25, 0.2, 0.2]
    assert judge.calls == [[1, 2, 0, 4, 5, 5], [1, 2], [0, 4], [5, 5], [0], [4]]


def test_a_value_that_is_no_number_costs_no_other_call():
    calls = []

    def judge(completions):
        calls.append(len(completions))
        return [float("nan") if not c.completion else 1.0 for c in completions]

    scores = score([Reward("judge", judge, fallback=-1.0)], rows(1, 0, 1))
    assert scores.total.tolist() == [1.0, -1.0, 1.0]
    assert calls == [3]


def test_asynchronous_pieces_run_side_by_side_and_not_all_at_once():
    active, most, calls = [], [], []

    async def judge(completions):
        calls.append(len(completions))
        active.append(1)
        most.append(len(active))
        await asyncio.sleep(0.01)
        active.pop()
        return [1 / len(c.completion) for c in completions]

    given = rows(*[1] * 15, 0, *[1] * 4)
    scores = score([Reward("judge", judge, fallback=-1.0)], given)
    assert scores.total.tolist() == [1.0] * 15 + [-1.0] + [1.0] * 4
    assert sorted(calls) == [1] * 20 + [20]
    assert 1 < max(most) <= 8


def test_without_a_fallback_the_first_culprit_is_sought_and_no_further():
    judge = Judge()
    with pytest.raises(UserError, match="on completion 2 of 5: row 0"):
        score([Reward("judge", judge)], rows(1, 1, 0, 1, 1))
    assert judge.calls == [[1, 1, 0, 1, 1], [1], [1], [0]]


class Calls:
    """Calls that are already over; `broken` says which completions end how."""

    def __init__(self, **broken):
        self.broken, self.asked = broken, []

    def __call__(self, completions):
        texts = [c.completion for c in completions]
        self.asked.append("".join(texts))
        kinds = [self.broken[x] for x in texts if x in self.broken]
        if kinds:
            given = Given(None, Fault(f"{kinds[0]}!", kinds[0], kinds[0]))
        else:
            given = Given(list[Any]([1.0] * len(texts)))
        return collections.namedtuple("Pending", "wait")(lambda: given)  # noqa: PYI024


def letters(text):
    return [Completion("?", x) for x in text]


def test_after_some_hangs_in_a_row_nobody_is_asked_any_more():
    calls = Calls(**dict.fromkeys("bcde", "hung"))
    outcome = in_pieces(calls, letters("abcdef"), 1)
    assert outcome.values == [1.0, None, None, None, None, None]
    assert list(outcome.faults) == [1, 2, 3, 4, 5]
    assert calls.asked == list("abcd")
    assert len(calls.asked) == 1 + MOST_BROKEN


def test_a_call_that_works_in_between_lets_it_go_on():
    calls = Calls(**dict.fromkeys("abdeg", "hung"))
    outcome = in_pieces(calls, letters("abcdefg"), 1)
    assert list(outcome.faults) == [0, 1, 3, 4, 6]
    assert calls.asked == list("abcdefg")


def test_those_who_died_of_another_are_asked_alone():
    calls = Calls(c="died")
    dead = Given(None, Fault("died!", "died", "died"))

    def begin(completions):
        pending = calls(completions)
        if len(calls.asked) <= 5:  # side by side: it takes all of them along
            return collections.namedtuple("P", "wait")(lambda: dead)  # noqa: PYI024
        return pending

    outcome = in_pieces(begin, letters("abcde"), 8)
    assert outcome.values == [1.0, 1.0, None, 1.0, 1.0]
    assert calls.asked == list("abcdeabcde")


def test_a_culprit_is_not_sought_where_calls_hang():
    assert culprit(Calls(b="hung"), letters("abc"), 60.0) is None
    assert culprit(Calls(), letters("abc"), 60.0) is None
    found = culprit(Calls(b="raised"), letters("abc"), 60.0)
    assert found is not None
    assert (found.what, found.at) == ("raised!", 1)
