"""A process that compares formulas, so that a hopeless one costs its time only."""

import functools
import sys
import warnings

from jaxalign.rewards.reading.bounded_process import BoundedProcess

TIME_LIMIT = 5.0
"""Seconds for one comparison; beyond them the completion counts as wrong."""
_FAILS = (
    "math-verify cannot be started, which compares formulas. See what "
    f"`{sys.executable} -c 'import math_verify'` says; install it with "
    "pip install 'jaxalign[math]'."
)


class FormulaProcess:
    """Starts at the first comparison, and anew after one that did not end."""

    def __init__(self, time_limit: float = TIME_LIMIT):
        """Nothing is started yet."""
        self._process = BoundedProcess("formula_worker.py", time_limit, fails=_FAILS)

    @staticmethod
    @functools.cache
    def shared() -> "FormulaProcess":
        """The one of this program."""
        return FormulaProcess()

    def same(self, accepted: str, text: str) -> bool:
        """Whether a text comes to the accepted formula; from any thread.

        Warns:
          UserWarning: It took longer than the limit, or more memory than there is.

        Raises:
          UserError: The process cannot be started.
        """
        reply = self._process.ask({"accepted": accepted, "text": text})
        if reply is None:
            warnings.warn(
                f"the formula of a completion could not be compared with "
                f"{accepted!r:.80} within {self._process.time_limit:g} s and 2 GiB; it "
                f"counts as wrong: {text[-120:]!r}",
                stacklevel=2,
            )
        return reply == "true"

    def close(self) -> None:
        """Ends the process, if there is one."""
        self._process.close()
