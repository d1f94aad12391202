"""Train steps of jaxalign, TRL and Tunix on the same ids, in turn, as ratios.

    python experiments/benchmarks/step_throughput.py --trl PYTHON --tunix PYTHON \
        --data DIR --model DIR --out results.json

Every measurement is a process of its own. README.md says what is counted.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

# This process must stay small: a child's peak memory begins with its parent's.
from experiments.benchmarks.shapes import DENSE, RAGGED, SHAPES
from experiments.benchmarks.table import results_table

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "ragged_dpo": "hh_rlhf/*.jsonl",
    "ragged_sft": "instruct_pref/*.jsonl",
}
STEPS = {"A": 8, "B": 4, "tiny": 3}
TUNIX_RAGGED_STEPS = 1
"""Its rows are all of one length, and so are its steps: one is as good as six."""
AT_A_TIME = {"ragged_dpo": (2, 4), "ragged_sft": (4, 8, 16)}
"""Microbatches that are tried with each peer; the fastest is measured."""

Line = dict[str, Any]


def environment() -> dict[str, str]:
    """What every child runs in."""
    path = os.pathsep.join(x for x in (str(ROOT), os.environ.get("PYTHONPATH")) if x)
    return os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path}


def run(command: list[str], timeout: float) -> Line:
    """The JSON line that a child prints, or what went wrong."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment(), timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return {"error": f"longer than {timeout:g} s"}
    lines = [x for x in done.stdout.splitlines() if x.startswith('{"')]
    if done.returncode or not lines:
        return {"error": f"exit code {done.returncode}: {done.stderr[-800:]}"}
    return json.loads(lines[-1])


def write_rows(task: str, args, folder: str) -> str:
    """Makes the file of a ragged task; returns its path."""
    file = str(Path(folder) / f"{task}.json")
    command = [sys.executable, "-m", "experiments.benchmarks.rows", "--task", task]
    command += ["--model", args.model, "--out", file]
    command += ["--data", str(Path(args.data) / SOURCES[task])]
    command += ["--updates", str(args.updates + 1), "--batch", str(args.batch)]
    subprocess.run(command, check=True, env=environment())
    return file


def command_of(library: str, task: str, shape: str, args) -> list[str]:
    """The child that measures one task of one library."""
    python, script = {
        "jaxalign": (sys.executable, "ours"),
        "trl": (args.trl, "trl_peer"),
        "tunix": (args.tunix, "tunix_peer"),
    }[library]
    command = [python, "-m", f"experiments.benchmarks.{script}"]
    return [*command, "--task", task, "--shape", shape]


class Log:
    """Measured lines, printed and written to a file as they come."""

    def __init__(self, file: str):
        self.file, self.lines = Path(file), []

    def measure(self, command: list[str], timeout: float, **about: Any) -> Line:
        line = about | run(command, timeout)
        print(json.dumps(line), flush=True)
        self.lines.append(line)
        text = json.dumps(self.lines, indent=1)
        self.file.write_text(text + "\n", encoding="utf-8")
        return line


def ragged_options(library: str, task: str, rows: str, log: Log, args) -> list[str]:
    """A library's further arguments, for peers with the microbatch that is fastest."""
    options = ["--rows", rows]
    if library == "jaxalign":
        return options
    candidates = [args.per_device] if args.per_device else AT_A_TIME[task]
    candidates = [x for x in candidates if args.batch % x == 0]
    speeds = {}
    for size in candidates if len(candidates) > 1 else ():
        command = command_of(library, task, args.ragged_shape, args)
        command += [*options, "--per-device", str(size), "--steps", "1"]
        about = {"lib": library, "task": task, "shape": args.ragged_shape}
        line = log.measure(command, args.timeout, **about, trial=size)
        speeds[size] = line.get("examples_per_s", 0.0)
    best = max(speeds, key=speeds.__getitem__) if speeds else candidates[0]
    options += ["--per-device", str(best)]
    if library == "tunix":
        options += ["--steps", str(min(args.updates, TUNIX_RAGGED_STEPS))]
    return options


def measure_all(args, folder: str) -> list[Line]:
    """All lines, the libraries in turn."""
    libraries = ["jaxalign", *(x for x in ("trl", "tunix") if getattr(args, x))]
    tasks = [(x, shape) for shape in args.shapes for x in DENSE if x in args.tasks]
    tasks += [(x, args.ragged_shape) for x in RAGGED if x in args.tasks]
    log = Log(args.out)
    for task, shape in tasks:
        options = {x: ["--steps", str(args.steps or STEPS[shape])] for x in libraries}
        if task in RAGGED:
            rows = write_rows(task, args, folder)
            options = {x: ragged_options(x, task, rows, log, args) for x in libraries}
        for turn in range(args.rounds):
            for library in libraries:
                command = command_of(library, task, shape, args) + options[library]
                about = {"lib": library, "task": task, "shape": shape}
                log.measure(command, args.timeout, **about, round=turn)
    return log.lines


def parse(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("dense", "ragged", *DENSE, *RAGGED)
    parser.add_argument("--tasks", nargs="+", choices=names, default=names[:2])
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=["A", "B"])
    parser.add_argument("--ragged-shape", choices=list(SHAPES), default="B")
    parser.add_argument("--trl", metavar="PYTHON", help="interpreter that has trl")
    parser.add_argument("--tunix", metavar="PYTHON", help="one that has google-tunix")
    parser.add_argument("--data", metavar="DIR", help="with hh_rlhf/, instruct_pref/")
    parser.add_argument("--model", metavar="DIR", help="tokenizer and chat template")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, help=f"dense updates; default {STEPS}")
    parser.add_argument("--updates", type=int, default=6, help="ragged updates")
    parser.add_argument("--batch", type=int, default=16, help="examples of those")
    parser.add_argument(
        "--per-device", type=int, help="ragged microbatch of the peers, not to be tried"
    )
    parser.add_argument("--timeout", type=float, default=5400, help="s per measurement")
    parser.add_argument("--out", default="results.json")
    args = parser.parse_args(arguments)
    groups = {"dense": DENSE, "ragged": RAGGED}
    args.tasks = {task for name in args.tasks for task in groups.get(name, (name,))}
    if args.tasks & set(RAGGED) and not (args.data and args.model):
        parser.error("ragged tasks read real rows: give --data and --model")
    return args


def main():
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        print(results_table(measure_all(args, folder)))


if __name__ == "__main__":
    main()
