"""The folder of a run: what was asked for, with which versions, and who holds it."""

import json
import logging
import os
import pathlib
import re
import sys
import time
from collections.abc import Collection, Mapping
from typing import Any

from jaxalign.errors import UserError
from jaxalign.os_errors import exit_code_of
from jaxalign.training import chaos
from jaxalign.training.folder.earlier import Earlier, read_earlier
from jaxalign.training.folder.lock import Lock
from jaxalign.training.folder.own_files import write_json
from jaxalign.training.folder.versions import versions
from jaxalign.training.stopping import exits

_LOG = logging.getLogger("jaxalign")
_RECORDS = ("versions.json", "run.json", "config.json")
"""In the order in which they are written: a folder with the last of them is a run."""
_NOT_A_RUN = {"cache", "logs", "lost+found", *_RECORDS, *(f"{x}.tmp" for x in _RECORDS)}


def check_run_folder(path: str | pathlib.Path, resume: str) -> None:
    """Refuses, before anything is read, a folder that cannot be; writes nothing.

    Args:
      path: Of the run.
      resume: `auto`, `never` or the number of a step.

    Raises:
      UserError: What is wrong with either.
    """
    if resume not in ("auto", "never") and not resume.isdigit():
        raise UserError(
            f"resume must be auto, never or the number of a step, got {resume!r}; "
            "mend --resume"
        )
    # Locks and renames need a file system, which a bucket is not.
    if re.match(r"\w+:/", str(path)):
        raise UserError(
            f"the run folder must be on a mounted disk, got {path}; mend --output-dir"
        )
    path = pathlib.Path(path).absolute()
    there = next(x for x in (path, *path.parents) if os.path.lexists(x))
    reason = None
    if not there.is_dir():
        reason = f"{there} is no folder"
    elif not os.access(there, os.W_OK | os.X_OK):
        reason = f"nothing may be written in {there}"
    if reason:
        raise UserError(
            f"the run folder {path} cannot be made: {reason}; choose another "
            "--output-dir"
        )


class RunFolder:
    """One run's folder, held by this process while it is entered.

    Attributes:
      path: The folder; `metrics.jsonl`, `checkpoints/`, `plots/`, `cache/` and
        `export/` are below it.
      resumes: Whether an earlier start of the same run is there to go on from.
      resume_step: The step asked for by number, None for the newest.
      start_step: The step that this start goes on from.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        *,
        config: Mapping[str, Any],
        fingerprints: Mapping[str, str] | None = None,
        resume: str = "auto",
        allow_change: Collection[str] = (),
        free: Collection[str] = (),
    ):
        """Nothing is touched before it is entered.

        Args:
          path: Made if it is not there.
          config: Every setting, resolved; nested dicts of JSON values.
          fingerprints: Of model, tokenizer, template, data and reference, by name.
          resume: `auto` goes on where the folder's run stopped, `never` refuses a used
            folder, a number goes on from that step.
          allow_change: Settings (dotted) or fingerprints that may differ from those of
            the earlier start; each change is recorded in `run.json`.
          free: Settings that never matter to a resume, such as `output_dir`.
        """
        self._given = str(path)
        self.path = pathlib.Path(path).absolute()
        self.resumes = False
        self.resume_step: int | None = None
        self.start_step = 0
        # Through JSON, as the settings to compare with: tuples become lists in both.
        self._config = json.loads(json.dumps(config))
        self._fingerprints = dict(fingerprints or {})
        self._resume = resume
        self._allowed, self._free = set(allow_change), set(free)
        self._starts: list[dict[str, Any]] = []
        self._lock = Lock(self.path / ".lock")

    def __enter__(self) -> "RunFolder":
        """Takes the lock, decides whether to resume, writes the records.

        Raises:
          UserError: Another process holds the folder; or it holds a run that may not be
            resumed, or other files; or a setting has changed since.
        """
        check_run_folder(self._given, self._resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if exit_code_of(error) == exits.UNAVAILABLE:
                raise
            raise UserError(
                f"the run folder {self.path} cannot be made: {error.strerror}; choose "
                "another --output-dir"
            ) from error
        # Before the decision: else two starts at once could both find a new folder.
        self._lock.acquire()
        try:
            changes = self._decide()
            self._record_start(changes)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        """Records how it ended and gives the lock back."""
        try:
            # `finished` has written what it was, and knows better.
            if "exit_code" not in self._starts[-1]:
                self._starts[-1]["exit_code"] = _exit_code(error)
                self._write_starts()
        except OSError as late:
            if error is None:
                raise
            _LOG.warning("how the run ended is not recorded: %s", late)
        finally:
            self._lock.release()

    def leave(self) -> None:
        """Records that the run was stopped, when it cannot be left as usual."""
        self.__exit__(None, SystemExit(exits.STOPPED), None)

    def started(self, step: int) -> None:
        """Records the step that this start goes on from."""
        self.start_step = step
        self._starts[-1]["start_step"] = step
        self._write_starts()

    def export_written(self, step: int) -> None:
        """Records that `export/` is the model of this step."""
        self._starts[-1]["exported"] = step
        self._write_starts()

    @property
    def exported(self) -> int | None:
        """The step whose model is in `export/`, if a start has recorded it."""
        known = [x["exported"] for x in self._starts if "exported" in x]
        return known[-1] if known else None

    def finished(self, step: int, exit_code: int) -> None:
        """Records the last step and the exit code."""
        self._starts[-1] |= {"stop_step": step, "exit_code": exit_code}
        self._write_starts()

    def _decide(self) -> dict[str, Any]:
        earlier = read_earlier(self.path)
        if earlier is None:
            self._require_new()
            return {}
        if self._resume == "never":
            raise UserError(
                f"{self.path} holds a run already; choose another --output-dir, or go "
                "on with --resume auto"
            )
        self.resumes = True
        self.resume_step = int(self._resume) if self._resume.isdigit() else None
        self._starts = earlier.starts
        return self._changes(earlier)

    def _require_new(self) -> None:
        names = (p.name for p in self.path.iterdir())
        # Hidden files are the lock, or left by file systems and editors.
        others = {x for x in names if not x.startswith(".")} - _NOT_A_RUN
        if others:
            listed = ", ".join(sorted(others)[:3])
            raise UserError(
                f"{self.path} holds files but no run ({listed}); "
                "choose an empty or new --output-dir"
            )
        if self._resume.isdigit():
            raise UserError(
                f"{self.path} holds no run to resume at step {self._resume}; leave out "
                "--resume, or mend --output-dir"
            )

    def _changes(self, earlier: Earlier) -> dict[str, Any]:
        old, new = flatten(earlier.config), flatten(self._config)
        if earlier.fingerprints is not None:
            old |= _named(earlier.fingerprints)
            new |= _named(self._fingerprints)
        old = _as_if_here(old, new, earlier.place)
        changes = {
            name: [old.get(name), new.get(name)]
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) and not _covers(self._free, name)
        }
        refused = [name for name in changes if not _covers(self._allowed, name)]
        if refused:
            listed = "; ".join(
                f"{name} was {changes[name][0]!r}, is {changes[name][1]!r}"
                for name in refused
            )
            raise UserError(
                f"the run in {self.path} was started with other settings: {listed}. "
                "Give the old ones, choose another --output-dir, or accept the change "
                f"with --allow-change {' '.join(refused)}"
            )
        for name, (before, after) in changes.items():
            _LOG.warning("%s changed from %r to %r", name, before, after)
        return changes

    def _record_start(self, changes: dict[str, Any]) -> None:
        start = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "argv": sys.argv,
            "place": os.getcwd(),
            "fingerprints": self._fingerprints,
            "changes": changes,
        }
        if chaos.faults():
            _LOG.warning("faults are switched on: %s", chaos.faults())
            start["chaos"] = [str(fault) for fault in chaos.faults()]
        self._starts.append(start)
        write_json(self.path / "versions.json", versions())
        self._write_starts()
        write_json(self.path / "config.json", self._config)

    def _write_starts(self) -> None:
        write_json(self.path / "run.json", {"starts": self._starts})


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, with dotted names.

    >>> flatten({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    flat = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _as_if_here(
    old: dict[str, Any], new: dict[str, Any], place: str | None
) -> dict[str, Any]:
    """Old settings, with the paths that they have if all was moved with `place`.

    Paths are absolute in settings, and an interrupted run may go on in a copy of the
    folder that it was started in, on another machine.
    """
    if place is None:
        return old
    here = os.getcwd()
    typed = {_seen_from(here, name): name for name in new}
    moved = {}
    for name, value in old.items():
        now = name if name in new else typed.get(_seen_from(place, name), name)
        same = now in new and _seen_from(place, value) == _seen_from(here, new[now])
        moved[now] = new[now] if same else value
    return moved


def _seen_from(place: str, value: Any) -> Any:
    """A setting whose paths are as they would be typed in the folder `place`.

    >>> _seen_from("/home/ada", ["/home/ada/rows.jsonl:0.5", 3])
    ['rows.jsonl:0.5', 3]
    """
    if isinstance(value, list):
        return [_seen_from(place, x) for x in value]
    if not isinstance(value, str) or place == os.sep:
        return value
    # Anywhere in the text, because a list of sources holds several paths.
    return value.replace(place + os.sep, "")


def _named(fingerprints: Mapping[str, str]) -> dict[str, str]:
    return {f"fingerprints.{name}": value for name, value in fingerprints.items()}


def _covers(names: Collection[str], field: str) -> bool:
    """Whether `field` or something above it is among the names, `-` being `_`."""
    field, *plain = (
        x.replace("-", "_").removeprefix("fingerprints.") for x in (field, *names)
    )
    return any(field == name or field.startswith(name + ".") for name in plain)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return exits.FINISHED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else exits.BUG
    code = exit_code_of(error)
    return exits.BUG if code is None else code
