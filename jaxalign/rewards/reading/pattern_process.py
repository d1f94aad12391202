"""Users' regular expressions, looked for in a process of its own.

Nested repetitions, as in `(a+)+$`, can take longer than the universe is old, and while
Python looks for them nothing else of the program runs, not even what hears signals.
"""

import functools
import json
import re
from typing import Literal, NamedTuple

from jaxalign.errors import UserError
from jaxalign.rewards.reading.bounded_process import BoundedProcess

TIME_LIMIT = 5.0
"""Seconds for one text; an ordinary pattern takes a thousandth of one."""
_FAILS = (
    "the process that looks for regular expressions cannot be started. Free memory, "
    "and look for what ends processes on this machine."
)


class PatternMark(NamedTuple):
    """A place that a pattern describes.

    Attributes:
      start: Of its first character.
      groups: Texts of the whole and of the pattern's groups; None where one is not in.
    """

    start: int
    groups: tuple[str | None, ...]

    @property
    def text(self) -> str:
        """The whole."""
        return self.groups[0] or ""


@functools.cache
def _process() -> BoundedProcess:
    return BoundedProcess("pattern_worker.py", TIME_LIMIT, fails=_FAILS)


def marks_of(
    pattern: re.Pattern[str],
    text: str,
    where: Literal["search", "match", "fullmatch", "finditer"],
) -> list[PatternMark]:
    r"""The places that a user's pattern describes: the first, or all by `finditer`.

    Raises:
      UserError: It takes longer than the limit.

    >>> marks_of(re.compile(r"n(\d)"), "n1 n2", "finditer")[1]
    PatternMark(start=3, groups=('n2', '2'))
    """
    request = {"pattern": pattern.pattern, "flags": pattern.flags, "where": where}
    reply = _process().ask({**request, "text": text})
    if reply is None:
        raise UserError(
            f"pattern {pattern.pattern!r:.200} was looked for in a text of {len(text)} "
            f"characters for more than {TIME_LIMIT:g} s: its repetitions can be read "
            r"in too many ways, as those of '(\w+\s*)+' can. Write it so that each "
            "character belongs to one repetition only."
        )
    return [PatternMark(start, tuple(groups)) for start, groups in json.loads(reply)]
