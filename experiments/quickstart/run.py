"""SFT on facts a model cannot know teaches it to make things up; DPO and PPO can help.

    python -m experiments.quickstart.run --out quickstart_out

A tiny transformer is pretrained on a made-up world in which half of the people have a
birthplace that is told again and again, and half have one that is never told. Then it
is fine-tuned to answer questions about birthplaces, with true answers (SFT), and after
that to prefer "I-do-not-know ." to its own wrong answers and its own right answers to
"I-do-not-know ." (DPO). Or, again after SFT, it answers, and earns 1 for the truth, 0
for "I-do-not-know ." and -1 for anything else (PPO). All numbers are on people that no
fine-tuning asked about.

About 170 CPU seconds. Expected (`--check`, expected.json) on unknown people: SFT wrong
at least .85, DPO and PPO wrong at most .2; on known people: both correct at least .85.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from rich.console import Console

from experiments.quickstart import report, training
from experiments.quickstart.answers import answer_held_out
from experiments.quickstart.model import make_model
from experiments.quickstart.ppo import ppo
from experiments.quickstart.tokens import make_vocabulary
from experiments.quickstart.world import World, make_world

EXPECTED = Path(__file__).with_name("expected.json")


def run(seed: int) -> tuple[World, report.Answers]:
    """Trains one model after the other, and asks each of them."""
    world = make_world(seed)
    vocabulary = make_vocabulary(world.words())
    model = make_model(vocabulary.size)

    base = training.pretrain(model, vocabulary, world, seed)
    sft = training.sft(model, vocabulary, world, base, seed)
    dpo = training.dpo(model, vocabulary, world, sft, seed)

    models = {"base": base, "SFT": sft, "DPO": dpo}
    models["PPO"] = ppo(model, vocabulary, world, sft, seed)
    return world, {
        name: answer_held_out(model.decoder, vocabulary, world, params)
        for name, params in models.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("quickstart_out"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--check", action="store_true", help="compare with expected.json"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    console, start = Console(), time.time()
    world, answers = run(args.seed)
    results = report.judge_all(world, answers)
    report.print_examples(world, answers, console)
    report.print_table(results, console)
    report.save_results(results, args.seed, args.out)
    report.save_plot(results, args.out / "answers.png")
    seconds = time.time() - start
    console.print(f"{seconds:.0f} s. Numbers and plot: {args.out}/", highlight=False)
    if not args.check:
        return 0
    return 0 if report.check(results, json.loads(EXPECTED.read_text()), console) else 1


if __name__ == "__main__":
    sys.exit(main())
