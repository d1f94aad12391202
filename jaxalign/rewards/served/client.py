"""Asks a served judge: several requests at a time, again where that may help.

The thread that asks only waits, so that signals are heard at once; threads of their
own, which end with the process, send. What came is kept whatever else fails.
"""

import collections
import itertools
import logging
import queue
import random
import threading
import time
from collections.abc import Sequence

from jaxalign.rewards.requests import JudgeError
from jaxalign.rewards.served.attempt import Failure, attempt, pause_before
from jaxalign.rewards.served.endpoint import Endpoint
from jaxalign.rewards.served.kept import Kept

_LOG = logging.getLogger("jaxalign")
REMEMBERED = 30.0
"""Seconds in which what has failed fails again without being asked: a reward that
failed on some completions is called again in pieces (see `pieces`)."""
MOST_BROKEN = 3
"""Requests in a row that fail for good, after which the others are not sent."""
MOST_REFUSED = 32
"""The same for those that the server refuses for what they say: all completions of one
long prompt may be."""
LONGEST_WAIT = 600.0
"""Seconds that a server may ask to wait; beyond it a request has failed."""


class Client:
    """One endpoint, with what it has replied and how it has failed."""

    def __init__(self, endpoint: Endpoint):
        """Nothing is asked yet."""
        self.endpoint = endpoint
        self.kept = Kept(endpoint)
        self._lock = threading.Lock()
        self._rng = random.Random()  # of its own: seeds of a run are not touched
        self._calls = 0  # sent by this process, and not kept
        self._open_at = 0.0  # by the server's own word
        self._failed: dict[str, tuple[float, Failure]] = {}
        self._down: tuple[float, Failure] | None = None
        self._told: set[str] = set()

    def __call__(self, requests: Sequence[str]) -> list[str]:
        """The replies, one for each request; equal requests are sent once.

        Raises:
          JudgeError: Some failed; what came is kept.
        """
        missing = [x for x in dict.fromkeys(requests) if x not in self.kept]
        waiting = [x for x in missing if not self._known_failure(x)]
        if waiting:
            _Batch(self, waiting).run()
        left = [x for x in missing if x not in self.kept]
        if left:
            raise self._error(left, len(dict.fromkeys(requests)))
        return [self.kept[x] for x in requests]

    def where_possible(self, requests: Sequence[str]) -> list[str]:
        """The same, but an empty reply to what the server refuses for what it says.

        Raises:
          JudgeError: Some failed otherwise; what came is kept.
        """
        try:
            return self(requests)
        except JudgeError:
            left = {x for x in requests if x not in self.kept}
            failures = [self._failed.get(x) for x in left]
            if not all(x and x[1].whose == "request" for x in failures):
                raise
        self.tell(f"it refuses {len(left)} requests for what they say")
        return ["" if x in left else self.kept[x] for x in requests]

    def may_call(self) -> Failure | None:
        """Counts a call that is to be sent; or says why it is not."""
        most = self.endpoint.max_calls
        with self._lock:
            if most is None or self._calls + len(self.kept) < most:
                self._calls += 1
                return None
        what = f"max_calls={most} is reached in this run"
        self.tell(f"{what}; the judge is asked nothing more. What it replied is kept.")
        return Failure(what, "endpoint")

    def arrived(self, request: str, reply: str) -> None:
        """Keeps a reply."""
        with self._lock:
            self.kept.keep(request, reply)
            self._calls -= 1  # counted by being kept

    def failed(self, request: str, failure: Failure, *, down: bool) -> None:
        """Remembers for a while that a request failed for good, or that all do."""
        with self._lock:
            self._failed[request] = time.monotonic(), failure
            if down:
                self._down = time.monotonic(), failure

    def pause(self, seconds: float) -> None:
        """Nothing is sent for that long."""
        with self._lock:
            self._open_at = max(self._open_at, time.monotonic() + seconds)

    def seconds_closed(self) -> float:
        """How long the server still wants to be left alone."""
        return self._open_at - time.monotonic()

    def pause_before(self, number: int) -> float:
        """See `attempt.pause_before`."""
        with self._lock:
            return pause_before(number, self.endpoint.backoff, self._rng)

    def tell(self, text: str) -> None:
        """Warns, once of each."""
        with self._lock:
            new, _ = text not in self._told, self._told.add(text)
        if new:
            _LOG.warning("The judge at %s: %s", self.endpoint.url, text)

    def _known_failure(self, request: str) -> Failure | None:
        for found in (self._down, self._failed.get(request)):
            if found is not None and time.monotonic() - found[0] < REMEMBERED:
                return found[1]
        return None

    def _error(self, left: list[str], count: int) -> JudgeError:
        failures = (self._failed.get(x) or self._down for x in reversed(left))
        last = next((x[1].what for x in failures if x), "it was not asked")
        e = self.endpoint
        return JudgeError(
            f"the judge {e.model} at {e.url} did not reply to {len(left)} of {count} "
            f"requests; the last time {last}. What it replied is kept: the same "
            "command asks for the rest. Look whether it serves that model there, or "
            "raise timeout, attempts or max_calls."
        )


class _Batch:
    """Some requests, sent by threads that work side by side."""

    def __init__(self, client: Client, requests: list[str]):
        self._client = client
        self._requests = requests
        self._waiting = collections.deque(requests)
        self._over = threading.Event()
        self._done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._broken = self._refused = 0

    def run(self) -> None:
        """Waits for all of them; a signal that raises ends the wait."""
        count = min(self._client.endpoint.concurrency, len(self._requests))
        try:
            for _ in range(count):
                threading.Thread(target=self._work, name="judge", daemon=True).start()
            for _ in range(count):
                error = self._done.get()
                if error is not None:
                    raise error
        finally:
            self._over.set()

    def _work(self) -> None:
        error = None
        try:
            while not self._over.is_set():
                try:
                    request = self._waiting.popleft()
                except IndexError:
                    break
                self._settle(request, self._ask(request))
        except BaseException as caught:  # it is the asking thread's to raise
            error = caught
        self._done.put(error)

    def _settle(self, request: str, outcome: str | Failure | None) -> None:
        if outcome is None or self._over.is_set():
            return
        if isinstance(outcome, str):
            self._broken = self._refused = 0
            self._client.arrived(request, outcome)
            return
        self._refused += outcome.whose == "request"
        self._broken += outcome.whose != "request"
        down = outcome.whose == "endpoint" or self._broken >= MOST_BROKEN
        down |= self._refused >= MOST_REFUSED
        self._client.failed(request, outcome, down=down)
        if down:
            self._waiting.clear()

    def _ask(self, request: str) -> str | Failure | None:
        """The reply, or how it failed for good; None once nobody waits any more."""
        client, endpoint = self._client, self._client.endpoint
        for number in itertools.count(1):
            while (closed := client.seconds_closed()) > 0:
                if self._over.wait(closed):
                    return None
            refused = client.may_call()
            if refused is not None:
                return refused
            outcome = attempt(endpoint, request)
            if isinstance(outcome, str) or outcome.whose != "passing":
                return outcome
            if (outcome.wait or 0) > LONGEST_WAIT:
                what = f"{outcome.what}, and it asks to wait {outcome.wait:.0f} seconds"
                return outcome._replace(what=what, whose="endpoint")
            if number >= endpoint.attempts:
                return outcome
            client.tell(f"{outcome.what}; it is asked again")
            if outcome.wait is not None:
                client.pause(outcome.wait)
            if self._over.wait(client.pause_before(number)):
                return None
        return None


class Clients:
    """The served judges of one run, each asked in one place."""

    def __init__(self):
        """None is asked yet, and replies are kept in memory."""
        self._clients: dict[Endpoint, Client] = {}
        self._folder = None

    def of(self, endpoint: Endpoint) -> Client:
        """The client of an endpoint; reads the replies that the run's folder has."""
        if endpoint not in self._clients:
            self._clients[endpoint] = client = Client(endpoint)
            if self._folder is not None:
                client.kept.move_to(self._folder)
        return self._clients[endpoint]

    def keep_in(self, folder) -> None:
        """Keeps replies in a folder from now on.

        Raises:
          OSError: It cannot be written.
        """
        self._folder = folder
        for client in self._clients.values():
            client.kept.move_to(folder)
