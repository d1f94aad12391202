"""Exit codes, which launchers read, and the exceptions that carry them.

An exception with an `exit_code` ends the command with that code and its text alone,
as a `UserError` ends it with 2; any other exception is a bug, with a trace and code 1.
"""

from jaxalign.errors import UserError
from jaxalign.os_errors import STOPPED, UNAVAILABLE

FINISHED = 0
# What Python itself ends with behind a trace.
BUG = 1
USER_ERROR = 2

__all__ = [
    "BUG",
    "FINISHED",
    "STOPPED",
    "UNAVAILABLE",
    "USER_ERROR",
    "CheckpointSaveError",
    "DataTimeoutError",
    "NonFiniteError",
]


class CheckpointSaveError(OSError):
    """A checkpoint could not be written: which, and why.

    Attributes:
      exit_code: `UNAVAILABLE`, or `USER_ERROR` where a path has to be mended first.
    """

    def __init__(self, text: str, exit_code: int = UNAVAILABLE):
        """Takes the paragraph and the code."""
        super().__init__(text)
        self.exit_code = exit_code


class DataTimeoutError(TimeoutError):
    """No batch arrived within the time limit."""

    exit_code = UNAVAILABLE


class NonFiniteError(UserError):
    """Too many steps in a row had a loss or gradient that is not finite."""

    exit_code = USER_ERROR
