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

import json

import numpy as np

from experiments.real_model import reviews
from experiments.real_model.intervals import interval
from experiments.real_model.plots import draw_training
from experiments.real_model.reviews import begin, complete, reinforce
from experiments.real_model.stages import arguments, results

INSTRUMENTS = reviews.INSTRUMENTS
MEASURES = tuple(f"second_classifier/{x}" for x in ("positive", "share", "gain"))
"""Probability, share above one half, and what the probability gained over SFT's."""


def main():
    args = arguments(__doc__)
    start = begin(args, args.out, args.seed)
    ppo = reinforce(args.out / "ppo", start, args.iterations, args.seed, kl_coef=0.05)
    found, before = {"instruments": start.found}, None
    for stage, model in {"after SFT": start.sft, "after PPO": ppo}.items():
        folder = args.out / "evaluate" / stage.replace(" ", "_")
        lines = complete(
            folder, model, start, args.seed, prefixes="prefixes_held_out.jsonl"
        )
        positive = np.array([x["positive"] for x in lines])
        before = positive if before is None else before
        values = (positive, positive > 0.5, positive - before)
        found[stage] = {
            **{
                name: interval(x, args.seed)
                for name, x in zip(MEASURES, values, strict=True)
            },
            **results(folder)["measures"],
        }
    (args.out / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    for stage, measures in found.items():
        for name, m in measures.items():
            print(f"{stage}: {name} {m['value']:.4g} ({m['low']:.4g}, {m['high']:.4g})")
    draw_training(args.out / "ppo", "reward", args.out / "training.png")


if __name__ == "__main__":
    main()
