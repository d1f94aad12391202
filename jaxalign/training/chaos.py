"""Faults injected by an environment variable, so that tests prove what a run survives.

`JAXALIGN_CHAOS="kill@step:7;enospc@save:2;delay@save*0.5"` with the grammar
`action@phase[:index][*value]`. Nothing happens unless `JAXALIGN_TEST_RUN=1` is set
too. `index` is the number of the step for `step`, `batch`, `grad` and `minibatch`,
and otherwise counts the visits of this process, from 1; without it every visit counts.
"""

import collections
import dataclasses
import errno
import functools
import os
import re
import signal
import time
from typing import Any

import numpy as np

from jaxalign.errors import UserError

_SPOILS = ("nan", "inf", "scale")
ACTIONS = ("kill", "sigterm", "sleep", "delay", "raise", "enospc", *_SPOILS)
PHASES = (
    *("init", "compile", "step", "minibatch", "eval", "data", "batch", "grad"),
    *("save", "manifest", "delete", "restore"),
    *("generate", "rollout", "reward", "score", "update", "load", "reference"),
)
_FAULT = re.compile(r"(\w+)@(\w+)(?::(\d+))?(?:\*([-+.\w]+))?")
_visits: collections.Counter[str] = collections.Counter()


@dataclasses.dataclass(frozen=True)
class Injected:
    """One fault: what happens, in which phase, at which visit, how much."""

    action: str
    phase: str
    index: int | None
    value: float


def parse_faults(text: str) -> tuple[Injected, ...]:
    """Reads a list of faults.

    >>> parse_faults("kill@step:7;delay@save*0.5")[0]
    Injected(action='kill', phase='step', index=7, value=1.0)

    Raises:
      UserError: Naming the part that is not understood.
    """
    faults = []
    for part in filter(None, text.split(";")):
        match = _FAULT.fullmatch(part.strip())
        action, phase, index, value = match.groups() if match else (None,) * 4
        if action not in ACTIONS or phase not in PHASES:
            raise UserError(
                f"JAXALIGN_CHAOS: {part!r} is not action@phase[:index][*value] with an "
                f"action of {', '.join(ACTIONS)} and a phase of {', '.join(PHASES)}"
            )
        faults.append(
            Injected(action, phase, int(index) if index else None, float(value or 1))
        )
    return tuple(faults)


@functools.cache
def faults() -> tuple[Injected, ...]:
    """The faults that this process was started with; none outside of tests."""
    # Two switches, so that one variable left in a shell harms no run.
    if os.environ.get("JAXALIGN_TEST_RUN") != "1":
        return ()
    return parse_faults(os.environ.get("JAXALIGN_CHAOS", ""))


def at(phase: str, index: int | None = None) -> None:
    """Lets the faults of `phase` happen that act on the process."""
    for fault in _due(phase, index):
        if fault.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif fault.action == "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
        elif fault.action in ("sleep", "delay"):
            time.sleep(fault.value)
        elif fault.action == "enospc":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif fault.action == "raise":
            raise RuntimeError(f"chaos: raise@{phase}")


def spoiled(phase: str, index: int, batch: Any) -> Any:
    """The batch with its floats overwritten, if a fault of `phase` says so."""
    due = [f for f in _due(phase, index) if f.action in _SPOILS]
    for fault in due:
        # `nan` and `inf` are their own factors.
        factor = fault.value if fault.action == "scale" else float(fault.action)
        batch = {
            name: x * np.asarray(factor, x.dtype)
            if np.issubdtype(x.dtype, np.floating)
            else x
            for name, x in batch.items()
        }
    return batch


def _due(phase: str, index: int | None) -> list[Injected]:
    if not faults():
        return []
    if index is None:
        _visits[phase] += 1
        index = _visits[phase]
    return [f for f in faults() if f.phase == phase and f.index in (None, index)]
