"""Starts the process of a user's rewards, and ends it when the run is over.

This file is run, by path: `guard.py CHANNEL RUN`, with the number of a socket and of
the process that waits for the rewards. It forks. The child is the user's; the parent
stays behind, runs nothing of theirs, and so can always do what it is here for: when the
run is gone, however it went, or the child is, it ends all that they have started. Then
it ends as the child did.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys

_LOOK = 1000  # milliseconds between two looks at whether the run is still there
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)


def main(channel: int, run: int) -> None:
    """Forks, works in the child and watches in the parent; never returns."""
    woken, wake = os.pipe()
    # `set_wakeup_fd` refuses one that blocks.
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pid = os.fork()
    if pid:
        watch(pid, channel, run, woken)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(woken)
    os.close(wake)
    work(channel)


def work(channel: int) -> None:
    """Becomes the process of the rewards, as the first message says."""
    os.setsid()  # a group of its own, for all that it starts
    connection = socket.socket(fileno=channel)
    received = bytearray()
    while b"\n" not in received:
        part = connection.recv(1 << 16)
        if not part:
            sys.exit(0)
        received += part
    first, _, rest = received.partition(b"\n")
    settings = json.loads(first)
    sys.path[:] = settings["path"]

    from jaxalign.rewards.user.worker import serve

    serve(connection, bytes(rest), settings)
    sys.exit(0)


def watch(pid: int, channel: int, run: int, woken: int) -> None:
    """Waits until the child has ended or the run is gone; never returns."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the run decides
    _adopt_orphans()
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(channel, 0)  # what is said there is not for us: only that it closed
    status = None
    while status is None:
        events = dict(poll.poll(_LOOK))
        if woken in events:
            os.read(woken, 4096)
        status = _reap(pid)
        # Where the run was killed, this process has another parent by now.
        if channel in events or os.getppid() != run:
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    _end_orphans()
    _end_like(0 if status is None else status)


def _reap(pid: int) -> int | None:
    """Takes note of who has ended; the status of `pid` if it has."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            ended, how = os.waitpid(-1, os.WNOHANG)
            if ended == pid:
                status = how
            if not ended:
                break
    return status


def _adopt_orphans() -> None:
    """Makes those who leave the child's group, as daemons do, children of this one."""
    with contextlib.suppress(Exception):  # Linux has it, others do not
        import ctypes

        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _end_orphans() -> None:
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children = _children()
        if not children:
            return
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _children() -> list[int]:
    """Processes whose parent is this one."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name in front, in brackets, may hold blanks and brackets.
                    parent = file.read().rpartition(b")")[2].split()[1]
                if int(parent) == os.getpid():
                    found.append(int(name))
    return found


def _end_like(status: int) -> None:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(Exception):
            import resource

            # The child may have left its core file; one of the guard tells nothing.
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):  # SIGKILL needs no handler
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 255)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
