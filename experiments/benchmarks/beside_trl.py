"""SFT and DPO of TRL on the ids that ours are timed on, each in a process of its own.

Plain Python, without the package: this process must not hold the device meanwhile.
"""

import argparse
import subprocess

from experiments.benchmarks.shapes import SHAPES
from experiments.benchmarks.step_throughput import Line, run

TASKS = ("sft", "dpo_128")


def measure_trl(args: argparse.Namespace) -> list[Line]:
    """A line for each task: the fastest microbatch's, or what went wrong.

    Args:
      args: `trl` is the interpreter that has it; `platform`, `dtype`, `shape` and
        `steps` are those of ours; `timeout` is in seconds for each process.
    """
    return [measure_task(task, args) for task in TASKS]


def measure_task(task: str, args: argparse.Namespace) -> Line:
    """The line of the microbatch that is fastest: the whole batch, or a quarter."""
    batch = SHAPES[args.shape].batch
    lines = []
    for size in sorted({batch, max(1, batch // 4)}, reverse=True):
        found = run(command_of(task, size, args), args.timeout)
        lines.append({"lib": "trl", "task": task, "per_device": size} | found)
        print(sentence(lines[-1]), flush=True)
    return max(lines, key=lambda line: line.get("tokens_per_s", 0.0))


def command_of(task: str, per_device: int, args: argparse.Namespace) -> list[str]:
    """The child that measures one task."""
    command = [args.trl, "-m", "experiments.benchmarks.trl_peer"]
    command += ["--task", task, "--shape", args.shape, "--steps", str(args.steps)]
    command += ["--platform", args.platform, "--dtype", args.dtype]
    return [*command, "--per-device", str(per_device)]


def has_trl(python: str) -> bool:
    """Whether this interpreter is there and finds TRL."""
    asks = "import importlib.util as u, sys; sys.exit(u.find_spec('trl') is None)"
    try:
        return subprocess.run([python, "-c", asks], check=False).returncode == 0
    except OSError:
        return False


def sentence(line: Line) -> str:
    """What a child found, in a line."""
    about = f"TRL {line['task']}, {line['per_device']} rows at a time"
    if "error" in line:
        return f"{about}: failed, {line['error']}"
    return f"{about}: {line['tokens_per_s']:.0f} tokens/s"
