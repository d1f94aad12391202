"""`jaxalign COMMAND`, which also writes to a pipe in which phase it is.

    python -m experiments.reliability.observed FD COMMAND [flags]

The command is the real one, in its own process. A line for each change of phase, with
the time of the system's monotonic clock: `TIME =PHASE` for the main thread, and
`TIME +saving` and `TIME -saving` around a save in the background.
"""

import functools
import os
import sys
import time

from jaxalign import __main__ as program


def main() -> None:
    pipe = int(sys.argv[1])
    sys.argv[1:] = sys.argv[2:]

    def tell(what: str) -> None:
        # One write for a line: two threads write to the pipe.
        os.write(pipe, f"{time.monotonic():.6f} {what}\n".encode())

    run = program.run

    def observed(name: str, argv: list[str]) -> int | None:
        tell("=loading")
        _observe(tell)
        return run(name, argv)

    program.run = observed
    program.main()


def _observe(tell) -> None:
    """Puts `tell` where phases begin and end."""
    from jaxalign.recipes.scoring import ref_logps
    from jaxalign.training import Checkpoints, Clock

    switch, cached, save = Clock.switch, ref_logps._cached, Checkpoints._save

    @functools.wraps(switch)
    def switched(self, phase):
        tell(f"={'loading' if phase in ('init', 'restore') else phase}")
        return switch(self, phase)

    @functools.wraps(cached)
    def scored(*args):
        tell("=reference")
        try:
            return cached(*args)
        finally:
            tell("=loading")

    @functools.wraps(save)
    def saved(*args):
        tell("+saving")
        try:
            return save(*args)
        finally:
            tell("-saving")

    Clock.switch, ref_logps._cached, Checkpoints._save = switched, scored, saved  # pyright: ignore[reportAttributeAccessIssue]


if __name__ == "__main__":
    main()
