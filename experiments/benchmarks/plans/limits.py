"""Whether a plan's verdict is the compiler's own, just below and just past the memory.

    python -m experiments.benchmarks.plans.limits --out plans/limits.json

Each case is one run that grows in one setting. A small size says how its peak grows
above its arguments, and the plan is then asked on both sides of where it would fill the
device. Expected: below it fits, and past it the plan says no and the compiler refuses.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.plans.ask import Plans
from experiments.benchmarks.plans.run import GIB, peak

_ONE = "--topology v5e:1x1 --max-length 1024"
_FOUR = "--topology v5e:2x2 --max-length 1024"
_SMALL = "--model small"


class Case(NamedTuple):
    """One run that grows.

    Attributes:
      command: With `{n}` where it grows and `{rows}` for as many rows on each device.
      small: A size that fits.
      step: `n` is a multiple of it.
      devices: Of the machine.
      memory: Of each, GiB.
    """

    command: str
    small: int
    step: int = 1
    devices: int = 1
    memory: float = 15.75


_ROWS = "--batch-size {rows} --microbatch-size {n}"
CASES = {
    "sft, rows": Case(f"sft {_SMALL} {_ONE} --remat none {_ROWS}", 8),
    "sft, rows, remat full": Case(f"sft {_SMALL} {_ONE} --remat full {_ROWS}", 16),
    "sft, length": Case(
        f"sft {_SMALL} --topology v5e:1x1 --remat none --batch-size 1 "
        "--max-length {n}",
        8192,
        step=512,
    ),
    "sft, chunk": Case(
        f"sft {_SMALL} --topology v5e:1x1 --max-length 65536 --remat full "
        "--batch-size 1 --chunk-size {n}",
        4096,
        step=512,
    ),
    "sft, rows, fsdp 4": Case(
        f"sft {_SMALL} {_FOUR} --mesh.fsdp 4 --remat dots {_ROWS}", 8, devices=4
    ),
    "sft, rows, tensor 4": Case(
        f"sft {_SMALL} {_FOUR} --mesh.tensor 4 --mesh.fsdp 1 --remat none "
        "--batch-size {n} --microbatch-size {n}",
        16,
    ),
    "dpo, rows": Case(f"dpo {_SMALL} {_ONE} --remat dots {_ROWS}", 4),
    "reward, rows": Case(f"reward {_SMALL} {_ONE} --remat mlp {_ROWS}", 8),
    "kto, rows": Case(f"kto {_SMALL} {_ONE} --remat up {_ROWS}", 8),
    "sft, rows, SmolLM2": Case(
        "sft --model smollm2_135m --topology v5e:1x1 --max-length 1024 --remat dots "
        f"{_ROWS}",
        4,
    ),
    "sft, rows, v6e": Case(
        f"sft {_SMALL} --topology v6e:1x1 --max-length 1024 --remat none {_ROWS}",
        16,
        memory=31.25,
    ),
}


def ask(plans: Plans, name: str, case: Case, n: int) -> dict[str, Any]:
    """The plan of one size."""
    command = case.command.format(n=n, rows=n * case.devices)
    return plans.ask(f"{name}: {n}", command)


def largest(plan: dict[str, Any]) -> float:
    """Its peak in GiB."""
    return max(peak(x) for x in plan["programs"]) / GIB


def probe(plans: Plans, name: str, case: Case) -> tuple[int, int]:
    """The sizes on both sides of the memory, as the small one foretells them."""
    plan = ask(plans, name, case, case.small)
    step = max(plan["programs"], key=peak)
    fixed = step["bytes"]["arguments"] / GIB
    each = (peak(step) / GIB - fixed) / case.small
    fills = (case.memory - fixed) / each
    below = int(0.95 * fills) // case.step * case.step
    past = -(-int(1.05 * fills) // case.step) * case.step
    return below, past


def refused(plan: dict[str, Any]) -> bool:
    """Whether the compiler itself gave up a program for lack of memory."""
    return any("compiler_says" in x for x in plan["programs"])


def row(name: str, n: int, plan: dict[str, Any]) -> str:
    """A line of the table."""
    planned, compiler = plan["fits"], not refused(plan)
    words = {True: "fits", False: "does not fit"}
    agree = "yes" if planned == compiler else "**no**"
    return (
        f"| {name} | {n} | {largest(plan):.2f} | {words[planned]} | "
        f"{'compiled' if compiler else 'out of memory'} | {agree} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="part of the names of cases")
    args = parser.parse_args()
    plans = Plans(args.out)
    lines = ["| case | size | peak, GiB | plan | compiler | agree |"]
    lines.append("|" + " --- |" * 6)
    for name, case in CASES.items():
        if args.only in name:
            for n in probe(plans, name, case):
                lines.append(row(name, n, ask(plans, name, case, n)))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
