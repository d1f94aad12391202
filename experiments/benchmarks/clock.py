"""Times, memory and the one JSON line that every measurement prints.

Plain Python, without the package: the peers' interpreters import it too.
"""

import argparse
import json
import os
import resource
import statistics
import time
from typing import Any

from experiments.benchmarks.ids import counts
from experiments.benchmarks.shapes import RAGGED, SHAPES, TASKS


class Laps:
    """Wall and CPU seconds (all threads) between calls of `lap`."""

    def __init__(self):
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.start()

    def start(self):
        self._last = time.perf_counter(), time.process_time()

    def lap(self):
        now = time.perf_counter(), time.process_time()
        self.wall.append(now[0] - self._last[0])
        self.cpu.append(now[1] - self._last[1])
        self._last = now

    def drop(self, count: int) -> float:
        """Forgets the first laps; returns their wall seconds."""
        dropped = sum(self.wall[:count])
        del self.wall[:count], self.cpu[:count]
        return dropped


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every measuring script is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--task", required=True, choices=TASKS)
    parser.add_argument("--shape", required=True, choices=list(SHAPES))
    parser.add_argument("--rows", help="file of rows.py, for the ragged tasks")
    parser.add_argument("--steps", type=int, help="updates to time")
    return parser


def report(
    laps: Laps, *, tokens: int | None = None, examples: int | None = None, **more: Any
):
    """Prints the line.

    Args:
      laps: One lap per update. Dense updates are all alike, and their median counts;
        ragged ones differ, and their sum does.
      tokens: Tokens of one update, for dense rows.
      examples: Examples of all laps together, for ragged ones.
      **more: What else belongs into the line.
    """
    wall, cpu = laps.wall, laps.cpu
    if tokens is not None:
        speed = {"tokens_per_s": tokens / statistics.median(wall)}
        speed |= {"tokens_per_cpu_s": tokens / statistics.median(cpu)}
    else:
        assert examples is not None
        speed = {"examples_per_s": examples / sum(wall)}
        speed |= {"examples_per_cpu_s": examples / sum(cpu)}
    line = more | speed
    line |= {
        "step_s": statistics.median(wall),
        "min_step_s": min(wall),
        "total_s": sum(wall),
        "steps": len(wall),
        "cpu_s": statistics.median(cpu),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "load1": os.getloadavg()[0],
    }
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}
    print(json.dumps(rounded), flush=True)


def report_updates(laps: Laps, updates, args: argparse.Namespace, **more: Any):
    """Prints the line for updates of which the first was not timed.

    Args:
      laps: One per timed update.
      updates: As `ids.updates_of` gives them.
      args: Of `arguments`.
      **more: What else belongs into the line.
    """
    timed = updates[1:]
    more = {"task": args.task, "shape": args.shape} | more | counts(timed)
    if args.task in RAGGED:
        report(laps, examples=sum(map(len, timed)), **more)
    else:
        shape, sides = SHAPES[args.shape], len(timed[0][0])
        report(laps, tokens=sides * shape.batch * shape.length, **more)
