"""`metrics.jsonl`, the truth about a run, and what is averaged into it."""

import json
import logging
import math
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

_LOG = logging.getLogger("jaxalign")


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
        self._last: dict[str, int] = {
            line["split"]: line["step"] for line in read_metrics(self.path)
        }

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
        """Removes all lines after `step`, and a last line that was cut short."""
        keep = 0
        if self.path.exists():
            for raw in self.path.read_bytes().splitlines(keepends=True):
                line = _parsed(raw)
                if line is None or line["step"] > step:
                    break
                keep += len(raw)
            os.truncate(self.path, keep)
        self._last = {line["split"]: line["step"] for line in read_metrics(self.path)}

    def flush(self) -> None:
        """Makes sure that every line is on disk."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Closes the mirrors; one that fails is only warned about."""
        for mirror in self._mirrors:
            try:
                mirror.close()
            except Exception as error:
                _LOG.warning("%s did not close: %s", type(mirror).__name__, error)


def append_line(path: pathlib.Path, line: Mapping[str, Any]) -> None:
    """Appends one JSON object, making the file or its folder again if they are gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def read_metrics(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """All whole lines of a metrics file; an empty list if there is no file."""
    path = pathlib.Path(path)
    if not path.exists():
        return []
    lines = map(_parsed, path.read_bytes().splitlines(keepends=True))
    return [line for line in lines if line is not None]


def _parsed(raw: bytes) -> dict[str, Any] | None:
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "step" in line else None
