"""Iterations of GRPO and PPO by jaxalign, TRL and Tunix, in turn, as ratios.

    python experiments/benchmarks/rl_throughput.py \
        --trl PYTHON --old-trl DIR --tunix PYTHON --out rl.json

Every measurement is a process of its own. README.md says what is counted.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks import turns
from experiments.benchmarks.rl_work import TASKS
from experiments.benchmarks.table import results_table

STEPS = {"A": 5, "B": 2, "tiny": 2}


def commands_of(task: str, args) -> turns.Commands:
    pythons = {"jaxalign": sys.executable, "trl": args.trl, "tunix": args.tunix}
    scripts = {"jaxalign": "ours", "trl": "trl", "tunix": "tunix"}
    commands = {
        name: [python, "-m", f"experiments.benchmarks.rl_{scripts[name]}"]
        for name, python in pythons.items()
        if python
    }
    if task == "ppo" and args.trl and args.old_trl:
        commands["trl"] += ["--trl", args.old_trl]
    return {name: [*command, "--task", task] for name, command in commands.items()}


def main():
    parser = turns.arguments(__doc__, TASKS, STEPS, "rl.json")
    parser.add_argument("--old-trl", metavar="DIR", help="folder of trl 1.12, for PPO")
    args = parser.parse_args()
    print(results_table(turns.measure_in_turn(args, commands_of, STEPS)))


if __name__ == "__main__":
    main()
