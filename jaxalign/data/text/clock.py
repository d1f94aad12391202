"""The time that chat templates read: one for a whole run.

Some templates write the date into the system's turn. If they read the clock of the
machine, the rows of a run that is resumed on another day would be other rows.
"""

import datetime

from jaxalign.errors import UserError

_fixed: list[str] = []


def fix_clock(time: str | None = None) -> str:
    """Sets what templates read in this process from now on.

    Args:
      time: ISO 8601, local; None for this moment.

    Returns:
      The time, to the second.

    Raises:
      UserError: it is no time.

    >>> fix_clock("2026-01-31")
    '2026-01-31T00:00:00'
    """
    try:
        now = datetime.datetime.fromisoformat(time) if time else datetime.datetime.now()
    except ValueError as error:
        raise UserError(
            f"--template-time {time!r} is no time ({error}). Write a date, or a date"
            " and a time: 2026-01-31T12:00:00."
        ) from error
    _fixed[:] = [now.replace(microsecond=0).isoformat()]
    return _fixed[0]


def template_time() -> str:
    """The time that templates read: the one that was set, else that of the first call.

    >>> template_time() == template_time()
    True
    """
    return _fixed[0] if _fixed else fix_clock()
