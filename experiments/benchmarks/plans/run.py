"""Which runs of public models fit which TPUs, and what they hold there.

    python -m experiments.benchmarks.plans.run --out plans/results.json

It needs libtpu and no TPU: every line is `jaxalign plan`, one to ten minutes on a CPU
core. What `--out` holds already is not asked again; `--only WORD` takes the lines whose
names contain it. The table of what there is is printed at the end.
"""

import argparse
from pathlib import Path
from typing import Any

from experiments.benchmarks.plans.ask import Plans

GIB = 1 << 30

_8B = "--model llama3_8b --remat full"
_70B = "--model llama3_70b --remat full"
_QWEN = "--model qwen3_1.7b --remat full"
_V5E_16 = "--topology v5e:4x4 --mesh.fsdp 16"
_V5E_256 = "--topology v5e:16x16 --mesh.fsdp 256"
_V5P_64 = "--topology v5p:4x4x4 --mesh.fsdp 64"
_V5P_SEQUENCE = "--topology v5p:4x4x4 --mesh.fsdp 16 --mesh.sequence 4"
_V5P_DATA = "--topology v5p:4x4x4 --mesh.data 4 --mesh.fsdp 16"
# Prompt and two completions side by side: rows of 2,048 tokens.
_PAIRS = "--max-length 1280 --max-prompt-length 512"
_WRITE = "--max-length 2048 --max-new-tokens 1024 --kl-coef 0.04"

LINES = {
    "sft 8b v5e:4x4": f"sft {_8B} {_V5E_16} --max-length 2048 --batch-size 16",
    "dpo 8b v5e:4x4": f"dpo {_8B} {_V5E_16} {_PAIRS} --batch-size 16",
    "grpo 1.7b v5e:4x4": f"grpo {_QWEN} {_V5E_16} {_WRITE} --batch-size 16",
    "ppo 1.7b v5e:4x4": f"ppo {_QWEN} {_V5E_16} {_WRITE} --batch-size 64",
    "sft smollm2 v5e:1x1": "sft --model smollm2_135m --topology v5e:1x1 "
    "--max-length 2048 --batch-size 16",
    "sft 8b v5e:16x16": f"sft {_8B} {_V5E_256} --max-length 2048 --batch-size 256",
    "dpo 8b v5e:16x16": f"dpo {_8B} {_V5E_256} {_PAIRS} --batch-size 256",
    "sft 8b v5p:4x4x4 long": f"sft {_8B} {_V5P_64} --max-length 32768 --batch-size 64",
    # Four devices share a row: a batch has a row for each four, or a multiple.
    "sft 8b v5p:4x4x4 long, sequence 4": f"sft {_8B} {_V5P_SEQUENCE} "
    "--max-length 32768 --batch-size 16",
    "sft 8b v5p:4x4x4 longest, sequence 4": f"sft {_8B} {_V5P_SEQUENCE} "
    "--max-length 131072 --batch-size 16",
    "sft 8b v5p:4x4x4 long, data 4": f"sft {_8B} {_V5P_DATA} "
    "--max-length 32768 --batch-size 64",
    "sft 70b v5p:4x4x4": f"sft {_70B} {_V5P_64} --max-length 2048 --batch-size 64",
    "dpo 70b v5p:4x4x4": f"dpo {_70B} {_V5P_64} {_PAIRS} --batch-size 64",
    "grpo 8b v5p:4x4x4": f"grpo {_8B} {_V5P_64} {_WRITE} --batch-size 64",
    "ppo 8b v5p:4x4x4": f"ppo {_8B} {_V5P_64} {_WRITE} --batch-size 256",
}


def table(found: dict[str, Any]) -> str:
    """A Markdown table: a row for each plan, with its largest program."""
    out = ["| command | fits | largest program | peak, GiB a device | compiling, s |"]
    out.append("|" + " --- |" * 5)
    for plan in found.values():
        if "programs" not in plan:
            continue
        worst = max(plan["programs"], key=peak)
        parts = ", ".join(f"{x['name']} {peak(x) / GIB:.2f}" for x in plan["programs"])
        seconds = sum(x.get("compile_seconds", 0) for x in plan["programs"])
        largest = ""
        if plan["fits"] is False and worst["largest_arrays"]:
            largest = f"; its largest array is {worst['largest_arrays'][0]['array']}"
        out.append(
            f"| `{plan['command']}` | {'yes' if plan['fits'] else '**no**'} | "
            f"{worst['name']}{largest} | {parts} | {seconds:.0f} |"
        )
    return "\n".join(out)


def peak(program: dict[str, Any]) -> int:
    """Bytes of a device, with what the run holds beside the program.

    >>> peak({"bytes": {"peak": 3}}), peak({})
    (3, 0)
    """
    return program.get("bytes", {}).get("peak", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="part of the names of lines")
    args = parser.parse_args()
    plans = Plans(args.out)
    for name, command in LINES.items():
        if args.only in name:
            plans.ask(name, command)
    print(table({name: plans.found[name] for name in LINES if name in plans.found}))


if __name__ == "__main__":
    main()
