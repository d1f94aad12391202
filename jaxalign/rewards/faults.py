"""What can be wrong with a call of a reward function, and how it is told."""

import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeAlias

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.requests import JudgeError
from jaxalign.rewards.reward import Reward
from jaxalign.rewards.values import NoNumber, Value, in_a_line, values_of

Kind: TypeAlias = Literal["raised", "refused", "returned", "hung", "died"]
_INSTALLED = tuple(
    {str(Path(sysconfig.get_path(x)).resolve()) for x in ("stdlib", "platstdlib")}
)
_PACKAGES = {"site-packages", "dist-packages"}
_OURS = str(Path(__file__).resolve().parents[1])


class Hang(Exception):
    """A call that did not end within its time."""


class Fault(NamedTuple):
    """What happened.

    Attributes:
      what: As the end of a sentence that begins with the reward's name.
      cause: The same for all faults of one cause, whichever completion it was.
      kind: `raised`; `refused`, by a judge that does not reply; `returned` what is no
        number; `hung`; or `died`, with its process.
      at: The completion, if it was on one alone.
    """

    what: str
    cause: str
    kind: Kind
    at: int | None = None


class Given(NamedTuple):
    """What one call gave.

    Attributes:
      values: One for each completion, or None if the call failed as a whole.
      fault: Why it did.
      printed: What the function has written to standard output.
    """

    values: list[Value] | None
    fault: Fault | None = None
    printed: str = ""


class Pending(Protocol):
    """A call that is under way."""

    def wait(self) -> Given:
        """Waits for it to end, or for its time to be over; signals are heard."""
        ...


def given(result: object, n: int, printed: str = "") -> Given:
    """What a call gave that returned something."""
    values = values_of(result, n)
    if isinstance(values, str):
        return Given(None, Fault(values, "returned no list of numbers", "returned"))
    return Given(values, None, printed)


def raised(error: BaseException) -> Fault:
    """The fault of a function that raised an error."""
    while isinstance(error, BaseExceptionGroup):  # of tasks that ran side by side
        error = error.exceptions[0]
    try:
        text = str(error)
    except Exception:
        text = ""
    try:
        place = place_of(error)
    except OSError:  # of a relative path, where the current folder is gone
        place = "unknown place"
    if isinstance(error, JudgeError):  # nothing in the completions is to blame
        said = in_a_line(text, 600).rstrip(".")
        return Fault(f"cannot go on: {said}", "cannot go on", "refused")
    name = type(error).__name__
    said = f"{name}: {in_a_line(text, 400)}" if text else name
    return Fault(f"raised {said} ({place})", f"raised {name} ({place})", "raised")


def hung(time_limit: float | None, place: str = "") -> Fault:
    """The fault of a function that did not end, with where it was if that is known."""
    what = f"did not end within {time_limit or 0:g} seconds"
    return Fault(what + place, what, "hung")


def no_number(value: NoNumber, at: int) -> Fault:
    """The fault of one of the values that were returned."""
    return Fault(value.what, "returned what is no finite number", "returned", at)


def failure(
    reward: Reward, fault: Fault, completions: Sequence[Completion]
) -> UserError:
    """The paragraph about a reward that failed and has no fallback."""
    mend = (
        "Mend the function; it may return None where it does not apply. Or declare the "
        "value that failures get: fallback=0, for example (on the command line "
        f"`{reward.name}(fallback=0)`)."
    )
    if fault.kind == "refused":
        mend = "Or declare the value that such completions get: fallback=0."
    if reward.fallback is not None:
        mend = "No completion was left that it did not fail on. Mend the function."
    return UserError(
        f"The reward `{reward.name}` {fault.what}, on {where(fault, completions)}. "
        f"{mend}"
    )


def where(fault: Fault, completions: Sequence[Completion]) -> str:
    """The completion of a fault, or else those that the call was about."""
    n = len(completions)
    at = 0 if n == 1 else fault.at
    if at is not None:
        return f"completion {at} of {n}: {completions[at]}"
    return f"a call with {n} completions, the first: {completions[0]}"


def place_of(error: BaseException) -> str:
    """File and line of the user's own code where an error was raised.

    As in `rewards.py:12`; where none of the code is the user's, the innermost place.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown place"
    # The user can mend a line of their own, not that of a library which raised.
    own = [x for x in frames if is_users(x.filename)]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


def is_users(file: str) -> bool:
    """Whether a file of code is the user's: neither Python's, installed, nor ours."""
    if file.startswith("<"):
        return False
    path = Path(file).resolve()
    return not (
        _PACKAGES & set(path.parts)
        or any(path.is_relative_to(x) for x in (*_INSTALLED, _OURS))
    )
