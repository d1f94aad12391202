"""What can be wrong with the outcome of a reward function, and how it is told."""

import math
import numbers
import time
from typing import Any, NamedTuple

from jaxalign.errors import UserError
from jaxalign.rewards.calls import Call, Hang, place_of
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.reward import Reward


class Fault(NamedTuple):
    """What happened, and on which completion if it was on one alone."""

    what: str
    at: int | None = None


class Outcome(NamedTuple):
    """What a reward gave to n completions.

    Attributes:
      values: A number or None per completion; None also where it failed.
      failed: Positions of the completions on which it failed: some, or all.
      fault: The first fault, or None.
    """

    values: list[float | None]
    failed: list[int]
    fault: Fault | None


def outcome_of(reward: Reward, call: Call, completions: list[Completion]) -> Outcome:
    """Waits for a call and checks what it gave."""
    n = len(completions)
    result, error = call.wait()
    values = _as_list(result)
    if isinstance(error, Hang):
        fault = Fault(f"did not end within {reward.time_limit:g} seconds")
    elif error is not None:
        what = f"raised {type(error).__name__}: {error} ({place_of(error)})"
        fault = Fault(what, _first_that_raises(reward, completions))
    elif values is None:
        fault = Fault(f"returned {_shown(result)}, not a list of {n} numbers")
    elif len(values) != n:
        fault = Fault(f"returned {len(values)} values for {n} completions")
    else:
        return _checked(values)
    return Outcome([None] * n, list(range(n)), fault)


def failure(reward: Reward, fault: Fault, completions: list[Completion]) -> UserError:
    """The paragraph about a reward that failed and has no fallback."""
    n = len(completions)
    if fault.at is not None:
        where = f"completion {fault.at} of {n}: {completions[fault.at]}"
    else:
        where = f"a call with {n} completions, the first: {completions[0]}"
    return UserError(
        f"The reward `{reward.name}` {fault.what}, on {where}. Mend the function; it "
        "may return None where it does not apply. Or declare the value that failures "
        f"get: fallback=0, for example (on the command line `{reward.name}"
        "(fallback=0)`)."
    )


def _first_that_raises(reward: Reward, completions: list[Completion]) -> int | None:
    """The first completion that also fails alone, sought for one time limit."""
    end = time.monotonic() + reward.time_limit
    for i, completion in enumerate(completions):
        left = end - time.monotonic()
        if left <= 0:
            break
        _, error = Call(reward.function, [completion], left).wait()
        if error is not None:
            return None if isinstance(error, Hang) else i
    return None


def _checked(values: list[Any]) -> Outcome:
    found = [_value_or_fault(x) for x in values]
    failed = [i for i, x in enumerate(found) if isinstance(x, str)]
    kept: list[float | None] = [None if isinstance(x, str) else x for x in found]
    return Outcome(
        kept, failed, Fault(str(found[failed[0]]), failed[0]) if failed else None
    )


def _value_or_fault(x: Any) -> float | None | str:
    if hasattr(x, "tolist"):  # scalars of any array library
        x = x.tolist()
    if x is None:
        return None
    if not isinstance(x, numbers.Real):
        return f"returned {_shown(x)} in place of a number"
    if not math.isfinite(x):
        return f"returned {float(x)} in place of a finite number"
    return float(x)


def _as_list(result: Any) -> list[Any] | None:
    if hasattr(result, "tolist"):
        result = result.tolist()
    return list(result) if isinstance(result, list | tuple) else None


def _shown(x: Any) -> str:
    text = repr(x)
    short = text if len(text) <= 60 else text[:60] + " ..."
    return short if x is None else f"{short} ({type(x).__name__})"
