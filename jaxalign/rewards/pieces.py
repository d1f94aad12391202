"""One failing completion costs only itself: a failed call is made again in pieces.

The pieces are the completions of one prompt, so that functions which compare them go on
seeing them side by side, and then, of the prompts on which it fails again, single
completions. Every result that a piece gave is kept; nothing is asked a third time.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from jaxalign.rewards.completion import Completion
from jaxalign.rewards.faults import Fault, Given, Pending, no_number
from jaxalign.rewards.values import NoNumber

Begin: TypeAlias = Callable[[list[Completion]], Pending]
"""Starts a call on some of the completions."""

TOGETHER = 8
"""Calls of an asynchronous function that are under way at a time."""
MOST_BROKEN = 3
"""Calls in a row that hang or end their process, after which no other is made."""


class Outcome(NamedTuple):
    """What a reward gave to n completions.

    Attributes:
      values: A number or None per completion; None also where it failed.
      faults: By position, those on which it failed.
      printed: What the function has written to standard output.
    """

    values: list[float | None]
    faults: dict[int, Fault]
    printed: str = ""

    @property
    def first(self) -> Fault | None:
        """The fault at the first position, or None."""
        return self.faults[min(self.faults)] if self.faults else None


def of_whole(given: Given, n: int) -> Outcome:
    """The outcome of one call with all completions."""
    if given.values is None:
        assert given.fault is not None
        faults = dict.fromkeys(range(n), given.fault)
        return Outcome([None] * n, faults, given.printed)
    faults = {
        i: no_number(x, i)
        for i, x in enumerate(given.values)
        if isinstance(x, NoNumber)
    }
    kept: list[float | None] = [
        None if isinstance(x, NoNumber) else x for x in given.values
    ]
    return Outcome(kept, faults, given.printed)


def in_pieces(
    begin: Begin, completions: Sequence[Completion], together: int
) -> Outcome:
    """The outcome of calls with the completions of each prompt, or with single ones.

    Args:
      begin: Starts a call.
      completions: At least one.
      together: Calls under way at a time.
    """
    work = _Work(begin, completions)
    groups = _groups(completions)
    if len(groups) > 1:
        # A group of one has failed alone by now, and is not called again.
        failed = [x for x in work.run(groups, together) if len(x) > 1]
    else:
        failed = groups
    singles = [[i] for group in failed for i in group]
    failed = work.run(singles, together)
    if together > 1:
        # Whoever ends the process takes along all that are under way in it.
        work.run([x for x in failed if work.died(x)], 1, anew=True)
    return work.outcome()


def culprit(
    begin: Begin,
    completions: Sequence[Completion],
    time_limit: float | None,
) -> Fault | None:
    """The fault of the first completion that fails alone too; None if none is found.

    It is sought for one time limit, and until a call hangs.
    """
    end = math.inf if time_limit is None else time.monotonic() + time_limit
    for i, completion in enumerate(completions):
        if time.monotonic() > end:
            break
        fault = begin([completion]).wait().fault
        if fault is not None:
            return None if fault.kind == "hung" else fault._replace(at=i)
    return None


class _Work:
    """Calls with some of the completions, and what they have given so far."""

    def __init__(self, begin: Begin, completions: Sequence[Completion]):
        self._begin, self._completions = begin, completions
        self._values: list[float | None] = [None] * len(completions)
        self._faults: dict[int, Fault] = {}
        self._printed: list[str] = []
        self._broken = 0
        self._last: Given | None = None

    def run(
        self, pieces: list[list[int]], together: int, *, anew: bool = False
    ) -> list[list[int]]:
        """Makes calls; returns the pieces whose call failed as a whole."""
        failed = []
        if anew:
            self._broken = 0
        for piece, given in self._calls(pieces, together):
            outcome = of_whole(given, len(piece))
            self._printed.append(outcome.printed)
            for k, i in enumerate(piece):
                self._values[i] = outcome.values[k]
                # A later call is one with fewer completions, and has the last word.
                self._faults.pop(i, None)
                if k in outcome.faults:
                    self._faults[i] = outcome.faults[k]._replace(at=i)
            if given.fault is None:
                self._broken = 0
                continue
            failed.append(piece)
            if given.fault.kind in ("hung", "died"):
                self._broken += 1
        return failed

    def died(self, piece: list[int]) -> bool:
        """Whether the last call on these ended its process."""
        return self._faults[piece[0]].kind == "died"

    def outcome(self) -> Outcome:
        return Outcome(self._values, self._faults, "".join(self._printed))

    def _calls(self, pieces, together) -> Iterator[tuple[list[int], Given]]:
        """Calls in their order, several under way; after too many broken ones none."""
        under_way: list[tuple[list[int], Pending]] = []
        # The empty pieces at the end drain what is still under way.
        for piece in [*pieces, *[None] * together]:
            if piece is not None and self._broken < MOST_BROKEN:
                under_way.append((piece, self._begin([*self._some(piece)])))
            elif piece is not None:
                assert self._last is not None
                # What is not called any more gets the last fault: every position has an
                # outcome.
                yield piece, self._last
            if under_way and (piece is None or len(under_way) == together):
                first, pending = under_way.pop(0)
                self._last = pending.wait()
                yield first, self._last

    def _some(self, piece: list[int]) -> Iterator[Completion]:
        return (self._completions[i] for i in piece)


def _groups(completions: Sequence[Completion]) -> list[list[int]]:
    """Positions of the completions of each prompt."""
    groups = itertools.groupby(
        range(len(completions)),
        lambda i: (completions[i].index, completions[i].prompt),
    )
    return [list(group) for _, group in groups]
