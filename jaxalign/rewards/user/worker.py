"""The process of a user's rewards, from the inside.

Their code has the main thread, and one event loop for as long as the process lives; it
runs while nothing else is to be done, so that what is left in it goes on. Synchronous
functions are called while the loop stands still, so that they may run one themselves.
"""

import asyncio
import contextlib
import faulthandler
import inspect
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from jaxalign.rewards.columns import adapted, signature_of
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.faults import Given, given, hung, raised
from jaxalign.rewards.reward import is_async
from jaxalign.rewards.user.module import (
    NoSuchModule,
    find_function,
    functions_of,
    import_user,
    sources,
)
from jaxalign.rewards.user.wire import (
    line_of,
    message_of,
    unpacked,
    unpacked_completions,
)
from jaxalign.rewards.values import NoNumber

_OUT = 2  # both outputs are one file
_BEFORE_THE_END = 0.1  # seconds before its end that a hanging call's stack is written


def serve(connection: socket.socket, received: bytes, settings: dict[str, Any]) -> None:
    """Answers messages until the run closes its side.

    Args:
      connection: To the run.
      received: What has come already.
      settings: The first message.
    """
    sys.path[:] = dict.fromkeys([*settings["first"], *sys.path])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(  # pyright: ignore[reportAttributeAccessIssue]
            encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
    faulthandler.enable(_OUT)
    # What is meant for the run reaches this process too where a whole job is told to
    # stop. The run ends it; but processes that it forks are its own.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    os.register_at_fork(after_in_child=_as_at_the_start)
    Worker(connection, received).run()


def _as_at_the_start() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Worker:
    """The functions of a user, and the messages about them."""

    def __init__(self, connection: socket.socket, received: bytes):
        """Nothing is read before `run`."""
        connection.setblocking(False)
        self._connection, self._received = connection, bytearray(received)
        self._pid = os.getpid()
        self._functions: list[Callable[..., Any]] = []
        self._under_way: set[asyncio.Task] = set()
        self._new_loop()

    def run(self) -> None:
        """Reads a message and does what it says, until there are no more."""
        while True:
            message = self._in_loop(self._next())
            if message is None:
                break
            reply = self._reply(message)
            self._after_a_call()
            if reply is not None:
                self._in_loop(self._send(reply | {"id": message["id"]}))
        self._loop.close()

    def _reply(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """What a message is answered with; None if that comes later."""
        if message["do"] == "log":
            return self._log(message["file"])
        if message["do"] == "load":
            origin = message["origin"]
            file = message.get("file", origin)
            return self._load(origin, file, message["attribute"])
        function = self._functions[message["function"]]
        completions = unpacked_completions(message["completions"])
        bound = adapted(function, unpacked(message["given"]))
        limit = message["time_limit"]
        if not is_async(function):
            return _told(self._call(bound, completions, limit))
        call = self._call_async(bound, completions, limit, message["id"])
        task = self._loop.create_task(call)
        # The loop holds tasks weakly: without this one could be collected under way.
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return None

    def _after_a_call(self) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # the user's code has forked, and both have returned
        with contextlib.suppress(Exception):  # it may have closed it
            sys.stdout.flush()

    def _load(self, origin: str, file: str, attribute: str) -> dict[str, Any]:
        try:
            module = import_user(file)
            function = find_function(module, attribute)
        except NoSuchModule as error:
            return {"missing": str(error), "has": functions_of(module)}
        except BaseException as error:  # also SystemExit
            return {"raised": raised(error).what}
        self._functions.append(function)
        signature = signature_of(function)
        return {
            "parameters": signature
            and [
                [p.name, p.kind.name, p.default is not p.empty]
                for p in signature.parameters.values()
            ],
            "async": is_async(function),
            "sources": sources(origin, module),
        }

    def _log(self, file: str) -> dict[str, Any]:
        """From here on all that is printed goes to another file."""
        self._after_a_call()
        try:
            new = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            return {"raised": error.strerror}
        # By number: what C code and child processes print goes there as well.
        os.dup2(new, 1)
        os.dup2(new, 2)
        os.close(new)
        return {}

    def _call(
        self, function, completions: list[Completion], limit: float | None
    ) -> Given:
        asyncio.set_event_loop(self._loop)
        if limit is not None:
            faulthandler.dump_traceback_later(
                max(limit - _BEFORE_THE_END, limit / 2), file=_OUT
            )
        n = len(completions)  # the function may empty the list
        try:
            result = function(completions)
            if inspect.isawaitable(result):
                result = self._loop.run_until_complete(_plain(result))
            return given(result, n)
        except BaseException as error:  # also SystemExit: a reward ends no run
            return Given(None, raised(error))
        finally:
            signal.alarm(0)  # one that is still set would go off in our hands
            faulthandler.cancel_dump_traceback_later()
            if self._loop.is_closed():
                self._new_loop()

    async def _call_async(self, function, completions, limit, number: int) -> None:
        n = len(completions)
        try:
            task = asyncio.ensure_future(_plain(function(completions)))
            # `wait_for` would wait on for a task that ignores its cancelling.
            done, _ = await asyncio.wait([task], timeout=limit)
            if done:
                found = given(task.result(), n)
            else:
                task.cancel()
                found = Given(None, hung(limit))
        except BaseException as error:
            found = Given(None, raised(error))
        self._after_a_call()
        await self._send(_told(found) | {"id": number})

    async def _next(self) -> dict[str, Any] | None:
        """The next message; None if the run has closed its side."""
        at = self._received.find(b"\n")
        while at < 0:
            part = await self._loop.sock_recv(self._connection, 1 << 20)
            if not part:
                return None
            at = part.find(b"\n")
            at += len(self._received) if at >= 0 else 0
            self._received += part
        line = self._received[:at]
        del self._received[: at + 1]
        return message_of(line)

    async def _send(self, reply: dict[str, Any]) -> None:
        async with self._sending:
            await self._loop.sock_sendall(self._connection, line_of(reply))

    def _in_loop(self, coroutine) -> Any:
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        while True:
            try:
                return self._loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt, RuntimeError):
                # Another task has left, or stopped the loop. It has its error, and
                # whoever waits for it is told.
                if task.done() or self._loop.is_closed():
                    return task.result()

    def _new_loop(self) -> None:
        """At the start, and when a function has closed the one that it found."""
        self._loop = asyncio.new_event_loop()
        self._sending = asyncio.Lock()
        asyncio.set_event_loop(self._loop)


async def _plain(awaitable) -> Any:
    return await awaitable


def _told(found: Given) -> dict[str, Any]:
    """What a call gave, as a message."""
    if found.values is None:
        assert found.fault is not None
        return {"fault": list(found.fault[:3])}
    return {
        "values": [
            {"no": x.what} if isinstance(x, NoNumber) else x for x in found.values
        ]
    }
