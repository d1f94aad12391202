"""`metrics.jsonl`: its lines, the means over a window, and what repairs it."""

import logging
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from jaxalign import plain_files
from jaxalign.training.folder.own_files import append_line, set_aside

_LOG = logging.getLogger("jaxalign")
# Bytes; a damaged file may have no line end, and is then not read in one piece.
_LONGEST_LINE = 1 << 24


class Mirror(Protocol):
    """Whoever wants to see the metrics too."""

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Takes one logged line."""
        ...

    def close(self) -> None:
        """Sends what is left."""
        ...


class Window:
    """Weighted means over the steps since the last logged line.

    A metric is a scalar, which counts once for its step, or a `Mean`, which counts by
    its weight. The sums are Python floats, so that they go through JSON unchanged and
    an interrupted window ends as if it had not been interrupted.
    """

    def __init__(self, sums: Mapping[str, list[float]] | None = None):
        """Goes on from `sums`, as a checkpoint kept them."""
        self.sums = {name: list(pair) for name, pair in (sums or {}).items()}

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Adds the metrics of one step, already on the host."""
        for name, metric in metrics.items():
            total = float(np.asarray(getattr(metric, "total", metric)))
            weight = float(np.asarray(getattr(metric, "weight", 1.0)))
            pair = self.sums.setdefault(name, [0.0, 0.0])
            pair[0] += total
            pair[1] += weight

    def take(self) -> dict[str, float]:
        """The means, after which the window is empty; 0 where nothing counted."""
        means = {name: t / w if w else 0.0 for name, (t, w) in self.sums.items()}
        self.sums = {}
        return means


class MetricsLog:
    """An append-only file of one JSON object per logged step and split."""

    def __init__(self, path: str | pathlib.Path, mirrors: Iterable[Mirror] = ()):
        """Appends to `path`, and shows every line to the mirrors."""
        self.path = pathlib.Path(path)
        self._mirrors = list(mirrors)
        self._last = _last_steps(self.path)

    def write(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Appends one line; numbers that are not finite become null.

        Raises:
          ValueError: This step of this split, or a later one, is there already.
        """
        if self.has(step, split):
            raise ValueError(
                f"{self.path} has {split} step {self._last[split]}; step {step} would "
                "be there twice"
            )
        self._last[split] = step
        line = {"step": step, "split": split}
        line |= {k: v if math.isfinite(v) else None for k, v in values.items()}
        append_line(self.path, line)
        # A copy, because one that fails is taken out on the way.
        for mirror in list(self._mirrors):
            try:
                mirror.write(step, split, values)
            except Exception as error:
                self._mirrors.remove(mirror)
                _LOG.warning(
                    "%s fails and gets no more metrics, which %s keeps: %s",
                    type(mirror).__name__,
                    self.path,
                    error,
                )

    def has(self, step: int, split: str) -> bool:
        """Whether this step of this split, or a later one, is written."""
        return step <= self._last.get(split, -1)

    def cut_back(self, step: int) -> None:
        """Removes all lines after `step`, and a last line that was cut short.

        Lines that are damaged go too, with a warning, and the file as it was is kept.
        """
        kept, damaged, whole = [], 0, 0
        for raw in _raw_lines(self.path):
            line = _parsed(raw)
            whole += len(raw)
            if line is None:
                # A last line that was cut short is no damage: a killed run leaves one.
                damaged += raw.endswith(b"\n")
            elif line["step"] <= step:
                kept.append(raw)
        content = b"".join(kept)
        if damaged:
            set_aside(self.path, f"{damaged} of its lines are damaged")
            self.path.write_bytes(content)
        elif len(content) < whole:
            self._shorten(content)
        self._last = _last_steps(self.path)

    def _shorten(self, content: bytes) -> None:
        """Cuts the file where it begins with what is kept, else writes it anew."""
        with self.path.open("r+b") as file:
            if file.read(len(content)) == content:
                file.truncate(len(content))
                return
        temporary = self.path.with_name(self.path.name + ".tmp")
        temporary.write_bytes(content)
        temporary.replace(self.path)

    def flush(self) -> None:
        """Makes sure that every line is on disk."""
        if self.path.is_file():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Closes the mirrors; one that fails is only warned about."""
        for mirror in self._mirrors:
            try:
                mirror.close()
            except Exception as error:
                _LOG.warning("%s did not close: %s", type(mirror).__name__, error)


def read_metrics(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """All whole lines of a metrics file; an empty list if there is no file."""
    lines = map(_parsed, _raw_lines(pathlib.Path(path)))
    return [line for line in lines if line is not None]


def _last_steps(path: pathlib.Path) -> dict[str, int]:
    last: dict[str, int] = {}
    for line in read_metrics(path):
        last[line["split"]] = max(line["step"], last.get(line["split"], -1))
    return last


def _raw_lines(path: pathlib.Path) -> Iterator[bytes]:
    """Line by line; one that is longer than any metrics comes in pieces."""
    try:
        with plain_files.open_plain(path) as file:
            while raw := file.readline(_LONGEST_LINE):
                yield raw
    except FileNotFoundError:
        return
    except plain_files.UnreadableError as error:
        _LOG.warning("%s is passed over: %s", path, error)


def _parsed(raw: bytes) -> dict[str, Any] | None:
    if not raw.endswith(b"\n"):
        return None
    try:
        line = plain_files.parse_object(raw)
    except plain_files.UnreadableError:
        return None
    step, split = line.get("step"), line.get("split")
    sound = isinstance(step, int) and not isinstance(step, bool)
    return line if sound and isinstance(split, str) else None
