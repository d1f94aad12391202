"""Batches made ahead in a thread, and a wait for them that can be interrupted."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from jaxalign.errors import UserError
from jaxalign.training import chaos
from jaxalign.training.stopping.exits import DataTimeoutError
from jaxalign.training.stopping.preemption import StopRequest


class Prefetch:
    """The next few batches of an iterator, which runs in a thread of its own."""

    def __init__(
        self,
        batches: Callable[[int], Iterator[Any]],
        position: int,
        *,
        depth: int = 2,
        timeout: float = 600.0,
    ):
        """Starts to read `batches(position)`.

        Args:
          batches: From the number of batches already consumed to those that follow.
          position: That number.
          depth: How many batches are made ahead.
          timeout: Seconds after which a batch that does not come is an error.
        """
        self.position = position
        self._timeout = timeout
        # With each batch goes the error that ended the iterator, or None.
        self._queue: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._fill, args=(batches, position), name="batches", daemon=True
        )
        self._thread.start()

    def get(self, stop: StopRequest) -> Any:
        """The next batch, or None if the run is asked to stop before it comes.

        Raises:
          DataTimeoutError: None came within the time limit.
          UserError: The data ended. Whatever the iterator raises comes out here too.
        """
        deadline = time.monotonic() + self._timeout
        while not stop.requested:
            try:
                # In short waits, so that a request to stop is seen between them.
                batch, error = self._queue.get(timeout=0.2)
            except queue.Empty:
                if time.monotonic() > deadline:
                    raise DataTimeoutError(
                        f"batch {self.position} did not come within {self._timeout:g} "
                        "seconds: is the data source reachable?"
                    ) from None
                continue
            if isinstance(error, StopIteration):
                raise UserError(
                    f"the data ended after {self.position} batches, but the run is "
                    "longer; lower --max-steps or repeat the data"
                )
            if error is not None:
                raise error
            self.position += 1
            return batch
        return None

    def close(self) -> None:
        """Lets the thread end, which it does once the batch in the making is made."""
        self._closed.set()
        with contextlib.suppress(queue.Empty):  # wakes a thread that waits for room
            while True:
                self._queue.get_nowait()
        # A daemon: if it hangs in a read, it does not keep the process.
        self._thread.join(timeout=1.0)

    def _fill(self, batches, position) -> None:
        try:
            iterator = iter(batches(position))
            while not self._closed.is_set():
                chaos.at("data")
                self._put((next(iterator), None))
        except BaseException as error:  # raised again where the batch is wanted
            self._put((None, error))

    def _put(self, item) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                continue
