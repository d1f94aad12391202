"""The three phases of RLHF on a real model, with a sentiment reward.

    python -m experiments.real_model.sentiment --model SMOLLM2 --data DATA --out DIR

Claim (https://arxiv.org/abs/1909.08593, section 3.1): PPO with a learned reward makes
continuations of review prefixes positive, at a small KL to where it started. SFT on
sentences of both labels, so that the model writes reviews and ends them; a reward model
from pairs of a positive and a negative one, whose held-out accuracy is therefore an
area under the ROC curve; PPO from the first words of further reviews. Whether they
became positive is said by a second classifier (second_classifier.py), of other rows and
another architecture: the reward that was trained on stands beside it.

SmolLM2-135M-Instruct, two CPU cores: see README.md for time and results.
"""

from typing import Any

import numpy as np

from experiments.real_model import reviews
from experiments.real_model.arms import Scale, Table, measure_seeds
from experiments.real_model.intervals import interval
from experiments.real_model.plots import draw_training
from experiments.real_model.reviews import begin, complete, reinforce
from experiments.real_model.stages import results

INSTRUMENTS = reviews.INSTRUMENTS
MEASURES = tuple(f"second_classifier/{x}" for x in ("positive", "share", "gain"))
"""Probability, share above one half, and what the probability gained over SFT's."""


def measure_seed(args: Any, scale: Scale, table: Table, seed: int) -> None:
    """The instruments of one seed, and its policy after SFT and after PPO."""
    if table.has("after PPO", 0, seed):
        return
    out = args.out / f"seed_{seed}"
    start = begin(args, out, seed)
    steps = scale.iterations * args.iterations
    ppo = reinforce(out / "ppo", start, steps, seed, kl_coef=0.05)
    if not table.has("instruments", 0, seed):
        table.add("instruments", 0, seed, **start.found)
    before = None
    for stage, model in {"after SFT": start.sft, "after PPO": ppo}.items():
        folder = out / "evaluate" / stage.replace(" ", "_")
        prefixes = "prefixes_held_out.jsonl"
        lines = complete(folder, model, start, seed, prefixes=prefixes)
        positive = np.array([x["positive"] for x in lines])
        before = positive if before is None else before
        values = (positive, positive > 0.5, positive - before)
        second = {
            name: interval(x, seed) for name, x in zip(MEASURES, values, strict=True)
        }
        if not table.has(stage, 0, seed):
            table.add(stage, 0, seed, **second, **results(folder)["measures"])
    draw_training(out / "ppo", "reward", out / "training.png")


def main():
    measure_seeds(__doc__, "sentiment.csv", measure_seed)


if __name__ == "__main__":
    main()
