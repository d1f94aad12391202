"""One call of a reward function, in a thread of its own, with a time limit."""

import asyncio
import inspect
import io
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

from jaxalign.rewards.capture import captured
from jaxalign.rewards.completion import Completion

_GRACE = 0.5  # seconds that a cancelled coroutine has to end by itself


class Hang(Exception):
    """A call that did not end within its time."""


class Call:
    """A reward function at work on completions.

    Python cannot end a thread from outside. A function that hangs is left behind in its
    thread, which dies with the process; a coroutine is cancelled.
    """

    def __init__(self, function, completions: Sequence[Completion], time_limit: float):
        """Starts the call; `function` may be a coroutine function."""
        self._function, self._completions = function, list(completions)
        self._time_limit = time_limit
        self._result: Any = None
        self._error: BaseException | None = None
        self._printed = io.StringIO()
        self._deadline = time.monotonic() + time_limit
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> tuple[Any, BaseException | None]:
        """What the function returned, or else the error: its own, or `Hang`."""
        left = self._deadline - time.monotonic()
        slack = _GRACE if is_async(self._function) else 0.0
        self._thread.join(max(left, 0.0) + slack)
        if self._thread.is_alive():
            return None, Hang()
        return self._result, self._error

    @property
    def printed(self) -> str:
        """What it has written to standard output."""
        return self._printed.getvalue()

    def _run(self) -> None:
        self._printed = captured()
        try:
            result = self._function(self._completions)
            if inspect.isawaitable(result):
                result = asyncio.run(self._awaited(result))
            self._result = result
        except BaseException as error:  # also SystemExit: a reward ends no run
            self._error = error

    async def _awaited(self, awaitable) -> Any:
        task = asyncio.ensure_future(awaitable)
        left = self._deadline - time.monotonic()
        done, _ = await asyncio.wait([task], timeout=max(left, 0.0))
        if not done:
            task.cancel()
            raise Hang
        return task.result()


def is_async(function) -> bool:
    """Whether calling `function` gives a coroutine, also through `partial`."""
    inner = getattr(function, "func", function)
    method = getattr(inner, "__call__", None)  # noqa: B004 (the method, not whether)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(method)


def place_of(error: BaseException) -> str:
    """File and line where an error was raised, as in `rewards.py:12`."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown place"
