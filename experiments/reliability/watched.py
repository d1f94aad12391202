"""A `jaxalign` process whose phases are known, and what it leaves behind."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxalign.training import Checkpoints

ROOT = Path(__file__).parents[2]
_CLOCK = {"generate": "rollout", "reward": "reward wait", "eval": "evaluation"}


class Span(NamedTuple):
    """From when to when the run was in a phase; the end is None while it is."""

    phase: str
    start: float
    end: float | None = None


class Phases:
    """The phases of a run so far; `save` lies beside the others."""

    def __init__(self):
        self.spans: list[Span] = []
        self._changed = threading.Condition()

    def read(self, pipe) -> None:
        """Takes lines of `observed` until the process has ended."""
        for line in pipe:
            at, what = line.split()
            self._take(float(at), what[0], what[1:])

    def wait(self, phase: str, number: int, alive: Callable[[], bool]) -> Span | None:
        """The span of that number (from 0) of a phase; None if the run ends before."""
        with self._changed:
            while len(found := self.of(phase)) <= number:
                if not alive():
                    return None
                self._changed.wait(0.2)
            return found[number]

    def of(self, phase: str) -> list[Span]:
        return [x for x in self.spans if x.phase == phase]

    def at(self, moment: float) -> set[str]:
        """The phases that a moment lies in."""
        return {
            x.phase
            for x in self.spans
            if x.start <= moment and (x.end is None or moment <= x.end)
        }

    def _take(self, at: float, kind: str, name: str) -> None:
        name = "save" if name == "saving" else _CLOCK.get(name, name)
        if name == "loading" and any(x.phase == "data" for x in self.spans):
            name = "finishing"
        with self._changed:
            if kind == "=":
                for i, x in enumerate(self.spans):
                    # What is open is the phase before, or a save in the background.
                    if x.end is None and not (x.phase == "save" and self._saving):
                        if x.phase == name:
                            return
                        self.spans[i] = x._replace(end=at)
                if name != "save":
                    self.spans.append(Span(name, at))
            elif kind == "+":
                self.spans.append(Span(name, at))
            else:
                last = max(i for i, x in enumerate(self.spans) if x.phase == "save")
                self.spans[last] = self.spans[last]._replace(end=at)
            self._changed.notify_all()

    @property
    def _saving(self) -> bool:
        return any(x.phase == "save" and x.end is None for x in self.spans)


class Watched:
    """A process of one command."""

    def __init__(
        self, command: list[str], folder: Path, cache: Path | None, *, faults: str = ""
    ):
        """Starts it.

        Args:
          command: `dpo` and its flags, without `--output-dir`.
          folder: Of the run.
          cache: Of compiled programs; None compiles all anew.
          faults: As `jaxalign.training.chaos` reads them.
        """
        read, write = os.pipe()
        argv = [sys.executable, "-m", "experiments.reliability.observed", str(write)]
        self.phases = Phases()
        self._log = folder.with_suffix(".log").open("a")
        self.process = subprocess.Popen(
            [*argv, *command, "--output-dir", str(folder)],
            cwd=ROOT,
            env=_environment(cache, faults),
            pass_fds=[write],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        os.close(write)
        pipe = os.fdopen(read)
        self._reader = threading.Thread(target=self.phases.read, args=[pipe])
        self._reader.daemon = True
        self._reader.start()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def hurry(self) -> None:
        """Lets the threads of the process go before those of others."""
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), -15)

    def end(self, seconds: float | None = None) -> int:
        """Waits for the end; returns the exit code."""
        try:
            return self.process.wait(seconds)
        finally:
            self._log.close()
            self._reader.join(5)


def _environment(cache: Path | None, faults: str) -> dict[str, str]:
    env = {"JAX_PLATFORMS": "cpu", "NO_COLOR": "1"}
    if faults:
        env |= {"JAXALIGN_TEST_RUN": "1", "JAXALIGN_CHAOS": faults}
    if cache is not None:
        env["JAX_COMPILATION_CACHE_DIR"] = str(cache)
        env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        env["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
    return kept | env


def result(folder: Path) -> Mapping[str, Any]:
    """What a run has come to: digests of all that does not depend on the clock."""
    step = Checkpoints(folder / "checkpoints").latest()
    manifest = folder / "checkpoints" / str(step) / "MANIFEST.json"
    files = [
        folder / "metrics.jsonl",
        *sorted((folder / "completions").glob("*.jsonl")),
        *sorted((folder / "export").glob("*.safetensors")),
    ]
    return {
        "step": step,
        "leaves": json.loads(manifest.read_text())["leaves"],
        **{x.name: hashlib.sha256(x.read_bytes()).hexdigest() for x in files},
    }


def half_written(folder: Path) -> list[str]:
    """What a stopped run has left that is not whole; nothing, if it is as it should be.

    A folder of checkpoints holds verified steps alone, metrics and completions are
    lines of JSON, no file or folder is there under a temporary name, and an export is
    one that the run says it has finished.
    """
    if not folder.exists():
        return []
    found = [str(x) for x in folder.rglob("*") if x.suffix in (".tmp", ".part")]
    checkpoints = Checkpoints(folder / "checkpoints")
    steps = checkpoints.steps()
    if steps and checkpoints.latest() != steps[-1]:
        found.append(f"checkpoint {steps[-1]}")
    for file in [folder / "metrics.jsonl", *(folder / "completions").glob("*.jsonl")]:
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        for line in lines:
            try:
                json.loads(line)
            except ValueError:
                found.append(f"a line of {file}")
        if lines and not lines[-1].endswith("\n"):
            found.append(f"the last line of {file}")
    if (folder / "export").exists():
        record = folder / "run.json"
        starts = json.loads(record.read_text())["starts"] if record.exists() else [{}]
        if "exported" not in starts[-1]:
            found.append("an export that is not recorded as written")
    return found


def now() -> float:
    return time.monotonic()
