"""One accelerator: are its numbers those of the CPU, and how much of it is used.

    python -m experiments.benchmarks.gpu --out gpu.json
    python -m experiments.benchmarks.gpu --platform cpu --shape tiny --out gpu.json

In this order, and `--parts` takes some of it:

- `tests`: those of the tests whose numbers a device could get wrong (device_part.py).
- `trl`: SFT and DPO of TRL on the ids that ours are timed on, where `--trl` has it.
- `losses`: every loss and its gradient, there and on the CPU.
- `speed`: SFT, DPO (packed rows, prompts shared by both sides), an iteration of GRPO
  and plain sampling on a Llama of random weights, matrix products in bfloat16:
  tokens/s, and for updates the share of the machine's peak (MFU) by the formula 6 N per
  token and attention, without what is computed anew.

Expected: every test passes, and no loss is further off than 1e-3 of its size; the exit
code is 1 if not. Half an hour, of which `losses` and `speed` are ten minutes.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import beside_trl, device_part
from experiments.benchmarks.gpu_speed import measure_speed
from experiments.benchmarks.shapes import SHAPES

LARGEST_DIFFERENCE = 1e-3


def check_losses(device: Any) -> dict[str, float]:
    """The largest difference of each loss or gradient, as part of its size."""
    from tests.losses.losses_under_test import CASES

    found = {}
    for name, case in CASES.items():
        first, *rest = case.make_inputs(np.random.default_rng(0), 16, 5)

        def total(first, *rest, loss=case.loss):
            return loss(first, *rest).loss.total.sum()

        numbers = []
        for place in (device, jax.devices("cpu")[0]):
            with jax.default_device(place):
                value, grads = jax.jit(jax.value_and_grad(total))(first, *rest)
            leaves = [np.ravel(x) for x in jax.tree.leaves((value, grads))]
            numbers.append(np.concatenate(leaves).astype(np.float64))
        got, wanted = numbers
        found[name] = float(np.max(np.abs(got - wanted) / (1 + np.abs(wanted))))
    return found


def run_device_part(args: argparse.Namespace) -> dict[str, Any]:
    """What the tests found, printed too."""
    found = device_part.run_tests(args.platform)
    print(device_part.sentence(found), flush=True)
    return found


def run_trl(args: argparse.Namespace) -> dict[str, Any]:
    """TRL's lines by task, or why there are none."""
    if beside_trl.has_trl(args.trl):
        return {line["task"]: line for line in beside_trl.measure_trl(args)}
    absent = f"not measured: {args.trl} has no trl"
    print(f"TRL {absent}", flush=True)
    return {"absent": absent}


def run_losses(args: argparse.Namespace) -> dict[str, Any]:
    """The loss that is furthest off, printed too."""
    del args
    found = check_losses(jax.devices()[0])
    worst = max(found, key=lambda name: np.nan_to_num(found[name], nan=np.inf))
    print(f"{len(found)} losses; furthest off {worst}: {found[worst]:.1e}", flush=True)
    return {"count": len(found), "furthest_off": worst, "difference": found[worst]}


def ratios(speed: list[dict[str, Any]], trl: dict[str, Any]) -> dict[str, float]:
    """Our tokens/s over TRL's, by task, where both were measured.

    >>> ratios([{"task": "sft", "tokens_per_s": 6.0}], {"sft": {"tokens_per_s": 4.0}})
    {'sft': 1.5}
    """
    theirs = {task: x["tokens_per_s"] for task, x in trl.items() if "tokens_per_s" in x}
    both = [row for row in speed if row["task"] in theirs]
    return {row["task"]: row["tokens_per_s"] / theirs[row["task"]] for row in both}


PARTS = {
    # Children come first: JAX takes most of a GPU's memory once it looks for devices.
    "tests": run_device_part,
    "trl": run_trl,
    "losses": run_losses,
    "speed": measure_speed,
}


def faults(found: dict[str, Any]) -> list[str]:
    """What is not as expected, a sentence each."""
    wrong = []
    tests, losses = found.get("tests"), found.get("losses")
    if tests and tests["exit_code"] != 0:
        failed = " ".join(tests.get("failed_tests", []))
        wrong.append(f"{device_part.sentence(tests)}: {failed}")
    if losses and not losses["difference"] <= LARGEST_DIFFERENCE:  # nor is NaN
        wrong.append(f"{losses['furthest_off']} is off by {losses['difference']:.1e}")
    return wrong


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    if args.platform == "gpu":
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # one, for every library
    jax.config.update("jax_platforms", "cpu" if args.platform == "cpu" else "cuda,cpu")
    found = {"jax": jax.__version__, "shape": args.shape, "dtype": args.dtype}
    for name, run in PARTS.items():
        if name in args.parts:
            found[name] = run(args)
            write(found, args.out)
    found["device"] = jax.devices()[0].device_kind
    if {"trl", "speed"} <= found.keys():
        found["ours_over_trl"] = ratios(found["speed"], found["trl"])
        print(f"ours over TRL: {found['ours_over_trl'] or 'not measured'}")
    write(found, args.out)
    wrong = faults(found)
    if wrong:
        raise SystemExit("\n".join(wrong))


def write(found: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(found, indent=1) + "\n")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; what depends on the platform is filled in."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--platform", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--shape", choices=list(SHAPES), default="1B")
    parser.add_argument("--steps", type=int, default=5, help="updates to time")
    parser.add_argument("--remat", default="dots", help="of ours")
    parser.add_argument(
        "--dtype",
        choices=["bfloat16", "float32"],
        help="of matrix products; default bfloat16 on a GPU, float32 on a CPU",
    )
    parser.add_argument(
        "--trl",
        metavar="PYTHON",
        default=sys.executable,
        help="interpreter that has trl",
    )
    parser.add_argument("--timeout", type=float, default=900, help="s per TRL process")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    args = parser.parse_args(argv)
    args.dtype = args.dtype or ("bfloat16" if args.platform == "gpu" else "float32")
    return args


if __name__ == "__main__":
    main()
