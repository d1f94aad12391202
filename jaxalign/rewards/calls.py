"""Calls of a reward function in this process, with a time limit.

Functions that are given as Python objects run here: one after another in a thread that
stays, and asynchronous ones in one event loop that stays, so that what they keep from
call to call (a client, a semaphore, a connection) goes on working. A thread cannot set
signals; whoever needs them asks for no time limit, or gives the function by its file.
"""

import asyncio
import atexit
import contextlib
import copy
import dataclasses
import inspect
import io
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from jaxalign.rewards.capture import captured
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.faults import Given, Hang, given, hung, raised
from jaxalign.rewards.reward import is_async

_GRACE = 0.5  # seconds that a cancelled coroutine has to end by itself
_OF_THE_FUNCTION = (Exception, SystemExit)
_TURN = 0.2  # seconds in which a loop that works has turned once


class Call:
    """A reward function at work on completions.

    Python cannot end a thread from outside. A function that hangs is left behind in its
    thread, which dies with the process, and the next one gets another; a coroutine is
    cancelled.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        completions: Sequence[Completion],
        time_limit: float | None,
    ):
        """Starts the call; `function` may be a coroutine function."""
        self._function, self._completions = function, _copied(completions)
        self._n = len(completions)
        self._time_limit = time_limit
        self._result: Any = None
        self._error: BaseException | None = None
        self._printed = io.StringIO()
        self._start = time.monotonic()
        self._over = threading.Event()
        self._loop: _Loop | None = None
        self._lane: _Lane | None = None
        if is_async(function):
            self._loop = _Loop.current()
            self._loop.submit(self._run_async())
        elif time_limit is None:
            self._run()
        else:
            self._lane = _Lane.current()
            self._lane.put(self._run)

    def wait(self) -> Given:
        """What the function gave, once it has ended or its time is over."""
        if not self._ends():
            return Given(None, hung(self._time_limit))
        printed = self._printed.getvalue()
        if isinstance(self._error, Hang):
            return Given(None, hung(self._time_limit), printed)
        if self._error is not None:
            return Given(None, raised(self._error), printed)
        return given(self._result, self._n, printed)

    def _ends(self) -> bool:
        ended, slack = False, 0.0 if self._loop is None else _GRACE
        limit = None if self._time_limit is None else self._left() + slack
        try:
            ended = self._over.wait(limit)
        finally:  # also where a signal ends the wait
            if not ended:
                self._leave_behind()
        return ended

    def _left(self) -> float:
        assert self._time_limit is not None
        return max(self._start + self._time_limit - time.monotonic(), 0.0)

    def _leave_behind(self) -> None:
        if self._lane is not None:
            self._lane.leave()
        if self._loop is not None and self._loop.is_blocked():
            self._loop.leave()

    def _run(self) -> None:
        with captured() as self._printed:
            try:
                result = self._function(self._completions)
                if inspect.isawaitable(result):
                    result = _Loop.current().submit(self._awaited(result)).result()
                self._result = result
            except BaseException as error:  # also SystemExit: a reward ends no run
                self._error = error
                if self._lane is None and not isinstance(error, _OF_THE_FUNCTION):
                    raise  # somebody wants the caller's thread to stop
            finally:
                self._over.set()

    async def _run_async(self) -> None:
        with captured() as self._printed:
            try:
                self._result = await self._awaited(self._function(self._completions))
            except BaseException as error:
                self._error = error
            finally:
                self._over.set()

    async def _awaited(self, awaitable) -> Any:
        task = asyncio.ensure_future(awaitable)
        left = None if self._time_limit is None else self._left()
        # `wait_for` would wait on for a task that ignores its cancelling.
        done, _ = await asyncio.wait([task], timeout=left)
        if not done:
            task.cancel()
            raise Hang
        return task.result()


class _Lane:
    """A thread that runs one call after another, for those of one other thread."""

    _of_this_thread = threading.local()

    def __init__(self):
        # The thread holds the queue and not this object, which can so be dropped and
        # end it.
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(
            target=_serve, args=(self._jobs,), name="rewards", daemon=True
        ).start()

    @classmethod
    def current(cls) -> "_Lane":
        if getattr(cls._of_this_thread, "lane", None) is None:
            cls._of_this_thread.lane = cls()
        return cls._of_this_thread.lane

    def put(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def leave(self) -> None:
        """The next call gets another thread; this one ends when its job has ended."""
        self._jobs.put(None)
        if getattr(self._of_this_thread, "lane", None) is self:
            self._of_this_thread.lane = None

    def __del__(self):
        self._jobs.put(None)


def _serve(jobs: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # what it holds is not to live until the next one comes


class _Loop:
    """An event loop in a thread of its own, for all calls of this process."""

    _lock = threading.Lock()
    _now: "_Loop | None" = None

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=_turn, args=(self._loop,), name="async rewards", daemon=True
        )
        self._thread.start()
        atexit.register(self.close)

    @classmethod
    def current(cls) -> "_Loop":
        with cls._lock:
            if cls._now is None:
                cls._now = cls()
            return cls._now

    def submit(self, coroutine):
        """The coroutine's future, of `concurrent.futures`."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def is_blocked(self) -> bool:
        """Whether something in the loop does not let the others go on."""
        turned = threading.Event()
        self._loop.call_soon_threadsafe(turned.set)
        return not turned.wait(_TURN)

    def leave(self) -> None:
        """The next call gets another loop; what still runs in this one is lost."""
        with self._lock:
            if type(self)._now is self:
                type(self)._now = None
        self.close()

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is closed
            # What it would say of tasks that never ended has been said.
            self._loop.set_exception_handler(lambda *_: None)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_TURN)


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.run_until_complete(_cancelled(asyncio.all_tasks(loop)))
    loop.close()


async def _cancelled(tasks: set[asyncio.Task]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _copied(completions: Sequence[Completion]) -> list[Completion]:
    """Completions whose rows a function may change without a trace elsewhere."""
    return [
        dataclasses.replace(c, columns=_own(c.columns), messages=_own(c.messages))
        for c in completions
    ]


def _own(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # a caller's row may hold what cannot be copied
        return copy.copy(value)
