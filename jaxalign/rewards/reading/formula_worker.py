"""The program that compares formulas, a line of JSON at a time; see `formula_process`.

It is run by its path and imports nothing of the package, so that it starts quickly.
"""

import contextlib
import json
import logging
import sys
import time
from typing import Any

try:
    import resource
except ImportError:  # not on Windows
    resource = None

CPU_TIME = 60
"""Seconds for one comparison, in case that nobody is left to end us."""
MEMORY = 2 << 30
"""Bytes of address space: a tower of powers ends in an error instead of the machine."""


def as_formula(text: str) -> str:
    """An accepted answer between dollars, unless it is marked as a formula already."""
    marks = ("$", "\\boxed", "\\(", "\\[")
    return text if any(x in text for x in marks) else f"${text}$"


def limit(name: str, value: int) -> None:
    """Lowers a limit of the operating system, where it has such."""
    if resource is not None:
        kind = getattr(resource, name)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def main() -> None:
    """Answers `{"accepted": ..., "text": ...}` with `true` or `false`."""
    limit("RLIMIT_AS", MEMORY)
    from math_verify import (  # pyright: ignore[reportMissingImports]
        parse,
        verify,
    )

    logging.disable()
    # What libraries print must not stand among the replies.
    replies, sys.stdout = sys.stdout, sys.stderr
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        limit("RLIMIT_CPU", int(time.process_time()) + CPU_TIME)
        try:
            # No time limits of its own: they need SIGALRM, so the main thread, and do
            # not end one long operation. The other side has a clock and can end us.
            unlimited: Any = {"parsing_timeout": None}
            accepted = parse(as_formula(request["accepted"]), **unlimited)
            found = parse(request["text"], **unlimited)
            same = bool(verify(accepted, found, timeout_seconds=None))
        except (Exception, RecursionError, MemoryError):
            same = False
        print(json.dumps(same), file=replies, flush=True)


if __name__ == "__main__":
    main()
