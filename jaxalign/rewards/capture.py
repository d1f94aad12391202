"""What reward functions print, kept away from the run's own lines."""

import contextlib
import contextvars
import io
import sys
from collections.abc import Iterator

_buffer: contextvars.ContextVar[io.StringIO | None] = contextvars.ContextVar(
    "buffer", default=None
)


class _Splitter(io.TextIOBase):
    """Standard output, of which each captured thread or task has its own."""

    def __init__(self, outer):
        self._outer = outer

    def write(self, text: str) -> int:
        target = _buffer.get()
        return (self._outer if target is None else target).write(text)

    def flush(self) -> None:
        if _buffer.get() is None:
            self._outer.flush()

    def __getattr__(self, name):
        return getattr(self._outer, name)


@contextlib.contextmanager
def split_stdout() -> Iterator[None]:
    """Within it `captured` works; what others print passes through."""
    with contextlib.redirect_stdout(_Splitter(sys.stdout)):
        yield


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    """Within it this thread or task prints into the buffer that it gives."""
    buffer = io.StringIO()
    token = _buffer.set(buffer)
    try:
        yield buffer
    finally:
        # A task that is thrown away at the end is so in nobody's context.
        with contextlib.suppress(ValueError):
            _buffer.reset(token)
