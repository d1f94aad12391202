"""A process of its own for a user's rewards, as the run sees it."""

import functools
import itertools
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.faults import Fault, Given, Kind, hung, is_users
from jaxalign.rewards.user.connection import Connection
from jaxalign.rewards.user.output import Output
from jaxalign.rewards.user.wire import packed, packed_completions
from jaxalign.rewards.values import NoNumber, Value, in_a_line

LOAD_LIMIT = 600.0
"""Seconds that loading a user's code may take, with all that it imports."""
_SLICE = 0.2  # seconds between two looks at whether it is still there
_GRACE = 0.5  # seconds that a cancelled coroutine has to end by itself


class UserProcess:
    """The functions of the files of one folder, or of modules, in one process.

    It is started for the first function, and anew where it was lost; the functions are
    then loaded again. What it keeps from call to call begins anew as well.
    """

    def __init__(self, folder: Path | None = None):
        """Nothing is started yet.

        Args:
          folder: Of the files; their neighbours can be imported. Everything in the
            current folder can, and all that can be imported here.
        """
        self._cwd = os.getcwd()
        first = [str(folder.resolve())] if folder is not None else []
        self._settings = {
            # What it consists of itself is found as here; then come the user's.
            "path": [os.path.abspath(x) for x in sys.path],
            "first": list(dict.fromkeys([*first, self._cwd])),
        }
        self._loads: list[dict[str, Any]] = []
        self._sources: dict[str, str] = {}
        self._output = Output()
        self._connection: Connection | None = None
        self._replies: dict[int, dict[str, Any]] = {}
        self._ids = itertools.count(1)
        self._lock = threading.RLock()

    @property
    def sources(self) -> dict[str, str]:
        """Digests of all code behind the functions, by module; of files by path."""
        return dict(self._sources)

    def load(self, origin: str, attribute: str) -> tuple[int, dict[str, Any]]:
        """Loads a function.

        Returns:
          Its number, and what the process says of it.
        """
        load = {"do": "load", "origin": origin, "attribute": attribute}
        if origin.endswith(".py"):  # its own current folder may be another by then
            load["file"] = os.path.join(self._cwd, origin)
        with self._lock:
            connection = self._alive()
            reply = self._asked(connection, load)
            if "sources" in reply:
                self._loads.append(load)
                self._sources |= reply["sources"]
        return len(self._loads) - 1, reply

    def begin(
        self,
        function: int,
        given: Mapping[str, Any],
        completions: Sequence[Completion],
        time_limit: float | None,
    ) -> "UserCall":
        """Starts a call; see `UserCall`."""
        message = {
            "do": "call",
            "function": function,
            "given": packed(dict(given)),
            "time_limit": time_limit,
            "completions": packed_completions(completions),
        }
        with self._lock:
            # Before the place is noted, which trimming would move.
            self._output.trim()
            connection = self._alive()
            start = self._output.size
            number = self._sent(connection, message)
        reply = functools.partial(self._reply, connection, number)
        printed = functools.partial(self._output.since, start)
        return UserCall(connection, reply, printed, len(completions), time_limit)

    def log_to(self, file: Path) -> None:
        """From here on what is printed goes to a file, and what was printed before.

        Raises:
          OSError: It cannot be written.
        """
        new = Output(file)
        with self._lock:
            before = self._output.since(0)
            os.write(new.file.fileno(), before.encode())
            self._output = new
            if self._connection is not None and self._connection.ended is None:
                path = str(file.resolve())
                self._asked(self._connection, {"do": "log", "file": path})

    def close(self) -> None:
        """Ends the process, which may be started again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _alive(self) -> Connection:
        """The process, with all functions; a new one where it was lost.

        One that was lost since the last call is given back once: that call is to fail.
        """
        before = self._connection
        if before is not None and before.ended is None:
            self._take(before, 0)
            return before
        new = Connection(self._settings, self._cwd, self._output.file)
        self._connection = new
        for load in self._loads:
            reply = self._asked(new, load)
            sources = reply.get("sources", {})
            changed = [k for k, v in sources.items() if self._sources.get(k, v) != v]
            if changed or "sources" not in reply:
                new.end("has changed")
                named = f"{load['origin']}:{load['attribute']}"
                raise UserError(
                    f"The process of the reward {named} had to be started again, and "
                    f"its code is another one by now: {', '.join(changed) or named} "
                    "has changed since the run began. Put back what was there, or "
                    "start the run anew."
                )
        return new

    def _asked(self, connection: Connection, message: dict[str, Any]) -> dict[str, Any]:
        """The reply to a message that is no call; a fault is an error."""
        start = self._output.size
        number = self._sent(connection, message)
        end = time.monotonic() + LOAD_LIMIT
        try:
            while time.monotonic() < end:
                reply = self._reply(connection, number, _SLICE)
                if reply is not None:
                    return reply
                if connection.ended is not None:
                    break
        except BaseException:
            connection.end("was ended")
            raise
        if connection.ended is None:
            connection.end(f"did not end within {LOAD_LIMIT:g} seconds")
        words = last_words(self._output.since(start))
        return {"raised": f"{connection.ended}{words}"}

    def _sent(self, connection: Connection, message: dict[str, Any]) -> int:
        number = next(self._ids)
        connection.send(message | {"id": number})
        return number

    def _reply(
        self, connection: Connection, number: int, seconds: float
    ) -> dict[str, Any] | None:
        """The reply to a message if it comes within some seconds."""
        with self._lock:
            if number not in self._replies:
                self._take(connection, seconds)
            return self._replies.pop(number, None)

    def _take(self, connection: Connection, seconds: float) -> None:
        for message in connection.receive(seconds):
            if isinstance(number := message.get("id"), int):
                self._replies[number] = message


class UserCall:
    """A call in the process of a user's rewards.

    A process cannot be asked to leave a function alone. One that hangs is ended, and
    with it all that it has in its memory.
    """

    def __init__(
        self,
        connection: Connection,
        reply: Callable[[float], dict[str, Any] | None],
        printed: Callable[[], str],
        n: int,
        time_limit: float | None,
    ):
        """The call is under way.

        Args:
          connection: To the process.
          reply: The reply if it comes within some seconds.
          printed: What was printed since it began.
          n: Number of completions.
          time_limit: In seconds, or None.
        """
        self._connection, self._reply, self._printed = connection, reply, printed
        self._n, self._time_limit = n, time_limit
        self._end = math.inf
        if time_limit is not None:
            # A coroutine is cancelled over there, and that takes a moment.
            self._end = time.monotonic() + time_limit + _GRACE

    def wait(self) -> Given:
        """What the function gave; a signal that ends the wait ends the process."""
        try:
            while True:
                left = self._end - time.monotonic()
                reply = self._reply(min(max(left, 0), _SLICE))
                if reply is not None:
                    return self._given(reply)
                if self._connection.ended is not None:
                    return self._lost(self._connection.ended)
                if left <= 0:
                    self._connection.end("lost its process to another that hung in it")
                    printed = self._printed()
                    fault = hung(self._time_limit, last_place(printed))
                    return Given(None, fault, printed)
        except BaseException:
            self._connection.end("was ended")
            raise

    def _given(self, reply: dict[str, Any]) -> Given:
        printed = self._printed()
        try:
            if "fault" in reply:
                return Given(None, _fault(reply["fault"]), printed)
            values = [_value(x) for x in reply["values"]]
            if len(values) != self._n:
                raise ValueError(f"{len(values)} values for {self._n} completions")
            return Given(values, None, printed)
        except (KeyError, TypeError, ValueError):
            self._connection.end("has written into the line of its process to the run")
            return self._lost(str(self._connection.ended))

    def _lost(self, how: str) -> Given:
        printed = self._printed()
        words = last_place(printed) or last_words(printed)
        return Given(None, Fault(how + words, how, "died"), printed)


def last_place(printed: str) -> str:
    r"""Where the main thread was by a stack that Python wrote, for a sentence too.

    >>> last_place('Thread 0x1 (most recent call first):\n  File "a.py", line 3 in f\n')
    '; it was at a.py:3, in f'
    """
    stack = printed.rpartition("(most recent call first):")[2]
    frames = re.findall(r'File "([^"\n]+)", line (\d+) in (.+)', stack)
    if not frames or stack == printed:
        return ""
    own = [x for x in frames if is_users(x[0])]
    file, line, function = (own or frames)[0]
    return f"; it was at {file}:{line}, in {in_a_line(function, 60)}"


def last_words(printed: str) -> str:
    r"""The last line that somebody wrote, as an addition to a sentence.

    >>> last_words("loading\nout of luck\n")
    '; the last line that it printed is "out of luck"'
    """
    lines = [x for x in printed.splitlines() if x.strip()]
    if not lines:
        return ""
    return f'; the last line that it printed is "{in_a_line(lines[-1], 120)}"'


def _fault(told: list[Any]) -> Fault:
    what, cause, kind = told
    kinds: dict[Any, Kind] = {x: x for x in ("raised", "returned", "hung")}
    return Fault(str(what), str(cause), kinds[kind])


def _value(told: Any) -> Value:
    if isinstance(told, dict):
        return NoNumber(str(told["no"]))
    return None if told is None else float(told)
