"""A user's reward function, which runs in a process of its own."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from jaxalign.errors import UserError
from jaxalign.rewards.columns import needed, needs_step, takes_columns
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.faults import failure
from jaxalign.rewards.pieces import of_whole
from jaxalign.rewards.reward import Reward
from jaxalign.rewards.user.process import UserCall, UserProcess


class UserFunction:
    """A function `list of completions -> values`, called in its process.

    Attributes:
      process: Where it runs.
      origin: Its file or module, as the user named it.
      name: In there.
      signature: Its own, without the values of defaults; None where it has none.
      is_async: Whether it is a coroutine function.
      given: Parameters that it is called with.
      careful: Whether it has failed before and is called in pieces (see `pieces`).
    """

    def __init__(self, process: UserProcess, origin: str, name: str):
        """Loads it.

        Raises:
          UserError: It cannot be; the text goes on after the origin's name.
        """
        self.process, self.origin, self.name = process, origin, name
        self.given: Mapping[str, Any] = {}
        self.careful = False
        self._number, reply = process.load(origin, name)
        if "raised" in reply:
            raise UserError(f"loading {origin} {reply['raised']}. Mend the file.")
        if "missing" in reply:
            raise MissingInput(reply["missing"], reply["has"])
        self.is_async = bool(reply["async"])
        self.signature = _signature(reply["parameters"])

    @property
    def needed(self) -> list[str]:
        """Arguments that only a column of the rows can fill."""
        return needed(self.signature, self.given)

    @property
    def needs_step(self) -> bool:
        """Whether it cannot be called outside of a run."""
        return needs_step(self.signature, self.given)

    @property
    def takes_columns(self) -> bool:
        """Whether it has TRL's form."""
        return takes_columns(self.signature)

    def begin(
        self, completions: Sequence[Completion], time_limit: float | None
    ) -> UserCall:
        """Starts a call."""
        return self.process.begin(self._number, self.given, completions, time_limit)

    def __call__(self, completions: Sequence[Completion]) -> list[float | None]:
        """The values of completions.

        Raises:
          UserError: It failed on one of them.
        """
        given = self.begin(completions, None).wait()
        outcome = of_whole(given, len(completions))
        if outcome.first is not None:
            raise failure(Reward(self.name, self), outcome.first, completions)
        return outcome.values


class MissingInput(UserError):
    """A file or module has no such function.

    Attributes:
      has: The functions that it has.
    """

    def __init__(self, what: str, has: list[str]):
        """See `UserFunction`."""
        super().__init__(what)
        self.has = has


def _signature(parameters: list[Any] | None) -> inspect.Signature | None:
    """The signature that the process has told of."""
    if parameters is None:
        return None
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                getattr(inspect.Parameter, kind),
                default=None if optional else inspect.Parameter.empty,
            )
            for name, kind, optional in parameters
        ]
    )
