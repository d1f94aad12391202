"""Sampled tokens per second of jaxalign, TRL and Tunix, in turn, as ratios.

    python experiments/benchmarks/generation_throughput.py \
        --trl PYTHON --tunix PYTHON --out generation.json

Every measurement is a process of its own. README.md says what is counted.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks import turns
from experiments.benchmarks.table import results_table

STEPS = {"A": 10, "B": 3, "tiny": 3}
TASKS = ("generate", "unequal")


def commands_of(task: str, args) -> turns.Commands:
    module = "experiments.benchmarks.generation_"
    ours = [sys.executable, "-m", f"{module}ours"]
    if task == "unequal":
        refilled = [*ours, "--unequal"]
        return {"jaxalign": refilled, "jaxalign plain": [*refilled, "--plain"]}
    peers = {"trl": args.trl, "tunix": args.tunix}
    return {"jaxalign": ours} | {
        name: [python, "-m", f"{module}{name}"]
        for name, python in peers.items()
        if python
    }


def main():
    args = turns.arguments(__doc__, TASKS, STEPS, "generation.json").parse_args()
    print(results_table(turns.measure_in_turn(args, commands_of, STEPS)))


if __name__ == "__main__":
    main()
