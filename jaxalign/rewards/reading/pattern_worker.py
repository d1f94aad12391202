"""The program that looks for users' patterns; see `pattern_process`.

It is run by its path and imports nothing of the package, so that it starts quickly.
"""

import json
import re
import signal
import sys

CPU_TIME = 60
"""Seconds for one text, in case that nobody is left to end us."""


def matches_in(pattern: str, flags: int, where: str, text: str) -> list:
    """Start and groups of each place, group 0 first; of the first alone but `finditer`.

    >>> matches_in("a(b)?", 0, "finditer", "ab, a")
    [[0, ['ab', 'b']], [4, ['a', None]]]
    """
    compiled = re.compile(pattern, flags)
    if where == "finditer":
        matches = list(compiled.finditer(text))
    else:
        matches = [m for m in [getattr(compiled, where)(text)] if m is not None]
    return [[m.start(), [m[0], *m.groups()]] for m in matches]


def main() -> None:
    """Answers `{"pattern": ..., "flags": ..., "where": ..., "text": ...}`."""
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if hasattr(signal, "setitimer"):  # not on Windows
            # Nobody handles SIGPROF: the kernel ends the process, amid a search too.
            signal.setitimer(signal.ITIMER_PROF, CPU_TIME)
        print(json.dumps(matches_in(**request)), flush=True)


if __name__ == "__main__":
    main()
