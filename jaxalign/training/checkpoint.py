"""Checkpoints that are whole and verified, or not there.

A step is written to `<step>.tmp`, gets its manifest last, is flushed to disk and only
then renamed to `<step>`; a step counts if its name and its manifest are in order.
"""

import concurrent.futures
import json
import logging
import pathlib
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from jaxalign.errors import UserError
from jaxalign.training import chaos, manifest, orbax_store
from jaxalign.training.exits import CheckpointSaveError
from jaxalign.training.manifest import BadCheckpointError
from jaxalign.training.retention import Retention

Verify = Literal["leaves", "files", "off"]
_STEP = re.compile(r"0|[1-9][0-9]*")
_LOG = logging.getLogger("jaxalign")


class Restored(NamedTuple):
    """What a checkpoint held."""

    step: int
    state: Any
    data: dict[str, Any]
    host: dict[str, Any]


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
        """Copies the state to the host and writes it in the background.

        The state may be donated as soon as this returns. A save that is still running
        is waited for first; `data` and `host` are JSON, `metrics` is what `best` reads.

        Raises:
          CheckpointSaveError: The save before failed, or there is no room for this one.
        """
        self.wait()
        needed = orbax_store.size_in_bytes(state)
        self.require_space(needed)
        arrays = orbax_store.snapshot(state)
        leaves = {"/".join(k): manifest.describe(v) for k, v in _items(state)}
        texts = {
            "data.json": json.dumps(dict(data or {})),
            "host.json": json.dumps(dict(host or {})),
        }
        body = {"step": step, "leaves": leaves, "metrics": dict(metrics or {})}
        self._pending = self._worker.submit(self._save, body, arrays, texts, needed)

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
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise _save_error(self.folder, needed, free, "not enough room")

    def steps(self) -> list[int]:
        """Steps that have a folder, in order; none of them is verified by this."""
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
            if _STEP.fullmatch(path.stem) and not path.is_symlink():
                shutil.rmtree(path)
        for later in self.steps():
            if step is None or later > step:
                aside = self.folder / f"{later}.set-aside"
                shutil.rmtree(aside, ignore_errors=True)
                (self.folder / str(later)).rename(aside)
                _LOG.warning("checkpoint %d is now called %s", later, aside.name)

    def _verified(self, step: int, verify: Verify) -> dict[str, Any]:
        folder = self.folder / str(step)
        body = manifest.read(folder)
        if body.get("step") != step:
            raise BadCheckpointError(f"its manifest is that of step {body.get('step')}")
        if verify != "off":
            manifest.check_files(folder, body)
        return body

    def _restore(
        self, step: int, target: Any, verify: Verify, inside: tuple[str, ...]
    ) -> Restored:
        folder = self.folder / str(step)
        body = self._verified(step, verify)
        for name in reversed(inside):
            target = {name: target}
        start = "".join(f"{name}/" for name in inside)
        saved = {k: v for k, v in body["leaves"].items() if k.startswith(start)}
        wanted = {"/".join(k): manifest.describe(v) for k, v in _items(target)}
        found = manifest.differences(saved, wanted)
        if found:
            more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
            raise UserError(
                f"checkpoint {folder} does not fit this run: {'; '.join(found[:3])}"
                f"{more}. Use the model and optimizer settings that it was saved with"
            )
        try:
            arrays = folder / "arrays"
            state = orbax_store.read_arrays(arrays, target, partly=bool(inside))
            data = json.loads((folder / "data.json").read_bytes())
            host = json.loads((folder / "host.json").read_bytes())
        except Exception as error:
            raise BadCheckpointError(f"it does not load ({error})") from error
        if verify == "leaves":
            for name, array in orbax_store.snapshot(state).items():
                path = "/".join(name)
                if manifest.leaf_digest(array) != body["leaves"][path]["sha256"]:
                    raise BadCheckpointError(f"{path} loads with other values")
        for name in inside:
            state = state[name]
        return Restored(step, state, data, host)

    def _save(self, body, arrays, texts, needed) -> float:
        start = time.monotonic()
        step = body["step"]
        temporary = self.folder / f"{step}.tmp"
        try:
            self._write(temporary, body, arrays, texts)
            self._publish(temporary, step)
        except Exception as error:
            shutil.rmtree(temporary, ignore_errors=True)
            free = shutil.disk_usage(self.folder).free
            raise _save_error(temporary, needed, free, str(error)) from error
        return time.monotonic() - start

    def _write(self, folder: pathlib.Path, body, arrays, texts) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, array in arrays.items():
            body["leaves"]["/".join(name)]["sha256"] = manifest.leaf_digest(array)
        orbax_store.write_arrays(folder / "arrays", arrays)
        chaos.at("save")
        for name, text in texts.items():
            (folder / name).write_text(text)
        files = manifest.file_table(folder)
        chaos.at("manifest")
        manifest.write(folder, {**body, "files": files, "about": self._about})

    def _publish(self, temporary: pathlib.Path, step: int) -> None:
        target = self.folder / str(step)
        if target.exists():
            replaced = self.folder / f"{step}.set-aside"
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
        temporary.rename(target)
        manifest.sync(self.folder)
        self._verified(step, "files")
        chaos.at("delete")
        for old in self._superseded(step):
            # Renamed first, so that a crash leaves no half of a step behind.
            doomed = (self.folder / str(old)).rename(self.folder / f"{old}.tmp")
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


def _items(tree: Any):
    return manifest.named_leaves(tree).items()


def _save_error(path, needed: int, free: int, reason: str) -> CheckpointSaveError:
    return CheckpointSaveError(
        f"the checkpoint {path} was not written: {reason}. It needs about "
        f"{needed / 1e6:.1f} MB, {free / 1e6:.1f} MB are free; make room, or lower "
        "--keep-last"
    )
