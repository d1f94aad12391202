"""Where a run goes on and how it ends, in a line each."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console

from jaxalign.training import AskedToStop, Finished, RunFolder, StopRequest
from jaxalign.training.stopping.exits import STOPPED


def tell_start(
    console: Console,
    folder: RunFolder,
    host: Mapping[str, Any] | None,
    step: int,
    num_steps: int,
) -> None:
    """Says in a line where an interrupted run goes on; nothing of a new one.

    Args:
      console: Where people read.
      folder: Of the run.
      host: What the checkpoint held for the host; None without a checkpoint.
      step: Of the state.
      num_steps: Where the run ends.
    """
    if not folder.resumes:
        return
    where = f"the run in {folder.path}"
    if host is None:
        text = f"{where} was stopped before its first checkpoint: it begins again"
    elif step >= num_steps:
        text = f"{where} has made all of its {num_steps} steps"
    else:
        text = f"{where} goes on after step {step} of {num_steps}"
    console.print(text, soft_wrap=True)


class Ending:
    """How a run ends, in a line and an exit code."""

    def __init__(self):
        """Until told otherwise it was stopped before there was a step to save."""
        self.exit_code = STOPPED
        self._told = False

    def tell(self, done: Finished, num_steps: int) -> None:
        """Takes how training ended, and says so if it was stopped."""
        self.exit_code = done.exit_code
        if done.exit_code == STOPPED:
            saved = "which is saved"
            if done.saved != done.step:
                saved = f"and the last checkpoint is that of step {done.saved}"
            _say(f"stopped after step {done.step} of {num_steps}, {saved}")
            self._told = True

    def dropped(self) -> None:
        """Says that something was under way, unless it was told how the run ended."""
        self.exit_code = STOPPED
        if not self._told:
            _say_dropped()


@contextlib.contextmanager
def ended_on_request(stop: StopRequest) -> Iterator[Ending]:
    """Inside, `AskedToStop` ends the block; its exit code says that it was stopped."""
    ending = Ending()
    # For an end in the other thread, which passes by what is below.
    stop.on_leaving(_say_dropped)
    try:
        yield ending
    except AskedToStop:
        ending.dropped()


def _say_dropped() -> None:
    _say("stopped: what was under way is dropped, what was finished is kept")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(f"{text}; the same command goes on", file=sys.stderr, flush=True)
