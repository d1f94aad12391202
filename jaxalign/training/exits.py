"""Exit codes, which launchers read, and the exceptions that carry them.

An exception with an `exit_code` ends the command with that code and its text alone,
as a `UserError` ends it with 2; any other exception is a bug, with a trace and code 1.
"""

from jaxalign.errors import UserError

FINISHED = 0
BUG = 1
USER_ERROR = 2
STOPPED = 75
"""Stopped on request with everything saved: start the same command again."""
UNAVAILABLE = 76
"""A disk, peer or data source gave out: restart, but count starts without progress."""


class CheckpointSaveError(OSError):
    """A checkpoint could not be written: path, bytes needed and free, and why."""

    exit_code = UNAVAILABLE


class DataTimeoutError(TimeoutError):
    """No batch arrived within the time limit."""

    exit_code = UNAVAILABLE


class NonFiniteError(UserError):
    """Too many steps in a row had a loss or gradient that is not finite."""

    exit_code = USER_ERROR
