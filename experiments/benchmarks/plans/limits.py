"""Whether a plan's verdict is the compiler's own, below and past the memory.

    python -m experiments.benchmarks.plans.limits --out plans/limits.json

Each case is one run that grows in one setting, at sizes near where it fills the device.
Expected: where the plan says that it fits the compiler makes the program, and where it
says no the compiler has refused it for lack of memory.
"""

import argparse
from pathlib import Path
from typing import Any

from experiments.benchmarks.plans.ask import Plans
from experiments.benchmarks.plans.run import GIB, peak

_SFT = "sft --model small --max-length 1024 --remat none --microbatch-size {n}"
CASES = {
    "rows, v5e:1x1": (
        f"{_SFT} --topology v5e:1x1 --batch-size {{n}}",
        (30, 33, 35, 37),
    ),
    "length, v5e:1x1": (
        "sft --model small --topology v5e:1x1 --remat none --batch-size 1 "
        "--max-length {n}",
        (36864, 40960),
    ),
    "rows of a device, v5e:2x2": (
        f"{_SFT} --topology v5e:2x2 --mesh.fsdp 4 --batch-size {{four}}",
        (40,),
    ),
    "rows, reward, v5e:1x1": (
        "reward --model small --topology v5e:1x1 --max-length 1024 --remat none "
        "--microbatch-size {n} --batch-size {n}",
        (21, 44),
    ),
    "rows, dpo, v5e:1x1": (
        "dpo --model small --topology v5e:1x1 --max-length 1024 --remat none "
        "--microbatch-size {n} --batch-size {n}",
        (22,),
    ),
    "rows, kto, v5e:1x1": (
        "kto --model small --topology v5e:1x1 --max-length 1024 --remat none "
        "--microbatch-size {n} --batch-size {n}",
        (40,),
    ),
    "rows, v6e:1x1": (f"{_SFT} --topology v6e:1x1 --batch-size {{n}}", (73, 84)),
}
"""Commands with `{n}` where they grow (`{four}`: four times that), and sizes."""


def refused(plan: dict[str, Any]) -> bool:
    """Whether the compiler itself gave up a program for lack of memory."""
    return any("compiler_says" in x for x in plan["programs"])


def row(name: str, n: int, plan: dict[str, Any]) -> str:
    """A line of the table."""
    planned, compiled = plan["fits"], not refused(plan)
    largest = max(peak(x) for x in plan["programs"]) / GIB
    cells = [name, str(n), f"{largest:.2f}", "fits" if planned else "does not fit"]
    cells += ["compiled" if compiled else "out of memory"]
    cells += ["yes" if planned == compiled else "**no**"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="part of the names of cases")
    args = parser.parse_args()
    plans = Plans(args.out)
    lines = ["| what grows | size | peak, GiB | plan | compiler | agree |"]
    lines.append("|" + " --- |" * 6)
    for name, (command, sizes) in CASES.items():
        for n in sizes if args.only in name else ():
            plan = plans.ask(f"{name}: {n}", command.format(n=n, four=4 * n))
            lines.append(row(name, n, plan))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
