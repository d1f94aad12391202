"""What a device holds and sends as the machine grows, at one row a device.

    python -m experiments.benchmarks.plans.scaling --out plans/scaling.json

Two meshes: replicas of four devices that share one state (`data` grows), and one state
over all of them (`fsdp` grows, and gathers every weight from all others). Expected:
temporaries are flat within 10 %, and so is all that is exchanged from 16 devices on
where `data` grows; where `fsdp` grows arguments shrink.
"""

import argparse
from pathlib import Path
from typing import Any

from experiments.benchmarks.plans.ask import Plans

MIB = 1 << 20
MACHINES = {4: "v5e:2x2", 16: "v5e:4x4", 64: "v5e:8x8", 256: "v5e:16x16"}
MESHES = {
    "data": lambda n: f"--mesh.data {n // 4} --mesh.fsdp 4",
    "fsdp": lambda n: f"--mesh.fsdp {n}",
}


def row(axis: str, plan: dict[str, Any]) -> str:
    """A line of the table."""
    step = plan["programs"][0]
    held = step["bytes"]
    sent = {x["kind"]: x["bytes"] for x in step["collectives"]}
    sums = ("all-reduce", "reduce-scatter", "all-to-all")
    figures = [held["arguments"], held["temporaries"], held["peak"]]
    figures += [sent.get("all-gather", 0), sum(sent.get(x, 0) for x in sums)]
    figures.append(sum(sent.values()))
    cells = " | ".join(f"{x / MIB:,.1f}" for x in figures)
    return f"| {axis} | {plan['devices']} | {cells} |"


def table(found: dict[str, Any]) -> str:
    """A Markdown table, in MiB of a device and a step."""
    heads = "what grows | devices | arguments | temporaries | peak | gathered | summed"
    out = [f"| {heads} | all exchanged |", "|" + " --- |" * 8]
    out += [row(name.split()[0], plan) for name, plan in found.items()]
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(MESHES), default=MESHES)
    args = parser.parse_args()
    plans = Plans(args.out)
    for axis in args.only:
        for count, topology in MACHINES.items():
            mesh = MESHES[axis]
            plans.ask(
                f"{axis} {count}",
                f"sft --model small --topology {topology} {mesh(count)} --remat full "
                f"--max-length 1024 --microbatch-size 1 --batch-size {count}",
            )
    print(table(plans.found))


if __name__ == "__main__":
    main()
