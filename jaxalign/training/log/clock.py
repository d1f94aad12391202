"""Wall time of a run by phase; every second belongs to exactly one."""

import collections
import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Adds up wall time by phase; the phases together are all of it."""

    def __init__(self, phase: str = "init"):
        """Starts to count for `phase`."""
        # Monotonic, because the machine's clock may be set while a run goes on.
        self._phase, self._since = phase, time.monotonic()
        self._seconds = collections.defaultdict[str, float](float)

    def switch(self, phase: str) -> str:
        """Counts for `phase` from now on; returns the phase before."""
        now = time.monotonic()
        self._seconds[self._phase] += now - self._since
        previous, self._phase, self._since = self._phase, phase, now
        return previous

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts for `name` inside the `with` block, which may be nested."""
        previous = self.switch(name)
        try:
            yield
        finally:
            self.switch(previous)

    def seconds(self) -> dict[str, float]:
        """Seconds by phase so far, the running one included."""
        self.switch(self._phase)
        return dict(self._seconds)
