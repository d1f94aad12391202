"""Checkpoints that are whole and verified, or not there.

A step is written to `<step>.tmp`, gets its manifest last, is flushed to disk and only
then renamed to `<step>`; a step counts if its name and its manifest are in order.
"""

import concurrent.futures
import json
import logging
import os
import pathlib
import re
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from jaxalign.errors import UserError
from jaxalign.training import chaos
from jaxalign.training.checkpoints import manifest, orbax_store, step_folder
from jaxalign.training.checkpoints.manifest import BadCheckpointError
from jaxalign.training.checkpoints.retention import Retention
from jaxalign.training.checkpoints.step_folder import Restored
from jaxalign.training.folder import own_files

Verify = Literal["leaves", "files", "off"]
# Without leading zeros, so that each step has one name.
_STEP = re.compile(r"0|[1-9][0-9]*")
_LOG = logging.getLogger("jaxalign")


class Checkpoints:
    """The checkpoints of one run: saved in the background, checked when read."""

    def __init__(
        self,
        folder: str | pathlib.Path,
        *,
        keep_last: int = 2,
        keep_period: int | None = None,
        best: str | None = None,
        about: Mapping[str, Any] | None = None,
    ):
        """Opens a folder of checkpoints; nothing is written or removed yet.

        Args:
          folder: Where the step folders are, made at the first save.
          keep_last: How many of the newest to keep, at least 1.
          keep_period: Keep every step that is a multiple of this as well.
          best: `min:NAME` or `max:NAME`: keep the best by that metric as well.
          about: JSON that every manifest carries: versions, fingerprints, layout.
        """
        self.folder = pathlib.Path(folder).absolute()  # Orbax takes no other
        self._retention = Retention(keep_last, keep_period, best)
        self._about = dict(about or {})
        # One thread: saves come one after the other, and the newest is published last.
        self._worker = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
        self._pending: concurrent.futures.Future[float] | None = None
        self.save_seconds: float | None = None
        """How long the last finished save took, for deciding if another one fits."""

    def save(
        self,
        step: int,
        state: Any,
        *,
        data: Mapping[str, Any] | None = None,
        host: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Writes the state in the background, and waits until it has what it needs.

        That is a copy of the state on the host, or where it lies in the host's memory
        already, its arrays on the disk: a copy would be as much memory again. The state
        may be donated as soon as this returns. A save that is still running is waited
        for first; `data` and `host` are JSON, `metrics` is what `best` reads.

        Raises:
          CheckpointSaveError: The save before failed, or there is no room for this one.
        """
        # Two copies of the state at once could be too much for the host's memory.
        self.wait()
        needed = orbax_store.size_in_bytes(state)
        self.require_space(needed)
        leaves = step_folder.described(state)
        texts = {
            "data.json": json.dumps(dict(data or {})),
            "host.json": json.dumps(dict(host or {})),
        }
        body = {"step": step, "leaves": leaves, "metrics": dict(metrics or {})}
        released = threading.Event()
        job = body, state, texts, needed, released
        self._pending = self._worker.submit(self._save, *job)
        released.wait()

    def check(self) -> None:
        """Raises `CheckpointSaveError` if a background save has failed; never waits."""
        if self._pending is not None and self._pending.done():
            pending, self._pending = self._pending, None
            self.save_seconds = pending.result()

    def wait(self) -> None:
        """Waits for the background save, and raises if it failed."""
        if self._pending is not None:
            concurrent.futures.wait([self._pending])
        self.check()

    def settle(self) -> None:
        """Waits for the background save where another error ends the run."""
        try:
            self.wait()
        except Exception as error:
            _LOG.warning("%s", error)

    def require_space(self, needed: int) -> None:
        """Raises `CheckpointSaveError` unless `needed` bytes are free on the disk."""
        self._require_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise step_folder.save_error(self.folder, needed, error) from error
        if free < needed:
            raise step_folder.save_error(self.folder, needed, None)

    def steps(self) -> list[int]:
        """Steps that have a folder, in order; none of them is verified by this.

        Raises:
          UserError: In place of the folder of checkpoints there is something else.
        """
        self._require_folder()
        if not self.folder.is_dir():
            return []
        found = (p for p in self.folder.iterdir() if _STEP.fullmatch(p.name))
        return sorted(int(p.name) for p in found if p.is_dir() and not p.is_symlink())

    def latest(self) -> int | None:
        """The newest step whose files all agree with its manifest, or None.

        Damaged ones are passed over with a warning that says what is wrong.
        """
        for step in reversed(self.steps()):
            try:
                self._verified(step, "files")
            except BadCheckpointError as error:
                self._warn_about(step, error)
            else:
                return step
        return None

    def restore(
        self,
        target: Any,
        *,
        step: int | None = None,
        verify: Verify = "leaves",
        strict: bool = False,
        inside: tuple[str, ...] = (),
    ) -> Restored | None:
        """Reads a checkpoint into the shape and layout of `target`.

        Args:
          target: The state, or `jax.ShapeDtypeStruct` with shardings in its place.
          step: Which one; otherwise the newest that verifies.
          verify: `leaves` compares every file before loading and every leaf after,
            `files` the files only, `off` the manifest only.
          strict: Raise at a damaged one, in place of passing to the one before.
          inside: Where `target` lies in the state, if it is a part of it: the names of
            the branches above it. What lies elsewhere is not read.

        Returns:
          What was saved, or None if there is no checkpoint at all.

        Raises:
          UserError: The saved tree, a shape or a type differs from the target; or the
            step asked for, or all there are, are damaged.
        """
        steps = self.steps() if step is None else [step]
        for candidate in reversed(steps):
            try:
                chaos.at("restore")
                return self._restore(candidate, target, verify, inside)
            except BadCheckpointError as error:
                if strict or step is not None:
                    raise UserError(
                        f"checkpoint {self.folder / str(candidate)} cannot be used: "
                        f"{error}; choose another with --resume STEP "
                        f"(there are {self.steps()})"
                    ) from error
                self._warn_about(candidate, error)
        if not steps:
            return None
        raise UserError(
            f"none of the checkpoints {steps} in {self.folder} verifies; to begin "
            "again, give an empty --output-dir"
        )

    def leaves(self, step: int | None = None) -> list[str]:
        """Names of what a checkpoint holds, `branch/branch/leaf`; [] if it has none.

        Args:
          step: Which one; otherwise the newest whose manifest is in order. Its files
            are not looked at.
        """
        for candidate in reversed(self.steps() if step is None else [step]):
            try:
                return [*self._verified(candidate, "off")["leaves"]]
            except BadCheckpointError:
                continue  # `restore` says what is wrong with it
        return []

    def begin_at(self, step: int | None) -> None:
        """Makes `step` the newest, when training is about to go on from there.

        Half-written folders are removed. Later steps, which are damaged or belong to a
        history that is being replaced, are renamed to `<step>.set-aside`.
        """
        if not self.folder.is_dir():
            return
        for path in self.folder.glob("*.tmp"):
            if _STEP.fullmatch(path.stem):
                own_files.remove(path)
        for later in self.steps():
            if step is None or later > step:
                own_files.set_aside(
                    self.folder / str(later), "the run goes on from an earlier step"
                )

    def _require_folder(self) -> None:
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise UserError(
                f"{self.folder} is no folder, and the checkpoints of the run belong "
                "there: put the folder back, or choose another --output-dir"
            )

    def _verified(self, step: int, verify: Verify) -> dict[str, Any]:
        folder = self.folder / str(step)
        body = manifest.read_manifest(folder)
        # A folder renamed by hand would pass old weights off as those of another step.
        if body.get("step") != step:
            raise BadCheckpointError(f"its manifest is that of step {body.get('step')}")
        if verify != "off":
            manifest.check_files(folder, body)
        return body

    def _restore(
        self, step: int, target: Any, verify: Verify, inside: tuple[str, ...]
    ) -> Restored:
        body = self._verified(step, verify)
        folder = self.folder / str(step)
        return step_folder.load(folder, body, target, inside, verify == "leaves")

    def _save(self, body, state, texts, needed, released) -> float:
        start = time.monotonic()
        step = body["step"]
        temporary = self.folder / f"{step}.tmp"
        try:
            body = body | {"about": self._about}
            arrays, are_copies = orbax_store.on_host(state)
            if are_copies:
                released.set()
            step_folder.begin(temporary, body, arrays)
            del arrays
            released.set()
            step_folder.seal(temporary, body, texts)
            self._publish(temporary, step)
        except Exception as error:
            # What was written so far goes: it may be what has filled the disk.
            shutil.rmtree(temporary, ignore_errors=True)
            raise step_folder.save_error(temporary, needed, error) from error
        finally:
            released.set()
        return time.monotonic() - start

    def _publish(self, temporary: pathlib.Path, step: int) -> None:
        target = self.folder / str(step)
        if os.path.lexists(target):
            own_files.set_aside(target, "it is written again")
        temporary.rename(target)
        # The rename must survive a power cut as well.
        manifest.sync(self.folder)
        # Verified before older ones go, which until now are the sound ones.
        self._verified(step, "files")
        chaos.at("delete")
        for old in self._superseded(step):
            # Renamed first, so that a crash leaves no half of a step behind.
            doomed = self.folder / f"{old}.tmp"
            own_files.remove(doomed)
            (self.folder / str(old)).rename(doomed)
            shutil.rmtree(doomed)

    def _superseded(self, newest: int) -> Iterable[int]:
        """Steps that no rule keeps; damaged ones are left for people to look at."""
        metrics = {}
        for step in self.steps():
            try:
                metrics[step] = self._verified(step, "off")["metrics"]
            except BadCheckpointError:
                continue
        return self._retention.superseded(metrics, newest)

    def _warn_about(self, step: int, error: BadCheckpointError) -> None:
        path = self.folder / str(step)
        _LOG.warning("checkpoint %s is passed over: %s", path, error)
