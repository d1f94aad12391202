"""The three phases of RLHF on a real model, with a sentiment reward.

    python -m experiments.real_model.sentiment --model SMOLLM2 --data DATA --out DIR

Claim (https://arxiv.org/abs/1909.08593, section 3.1): PPO with a learned reward makes
continuations of review prefixes positive, at a small KL to where it started. Sentences
are the movie reviews of Pang and Lee (2005), DATA/movie_reviews/sentences.jsonl. SFT on
some of them, of both labels, so that the model writes reviews and ends them; a reward
model from pairs of a positive and a negative one, whose held-out accuracy is therefore
an area under the ROC curve; PPO from the first words of further reviews.

SmolLM2-135M-Instruct, two CPU cores: see README.md for time and results.
"""

import json
from pathlib import Path

from experiments.real_model.plots import draw_training
from experiments.real_model.stages import arguments, read_rows, results, run, write_rows

PROMPT = "Review:"
SFT_ROWS, PAIRS, HELD_OUT = 1200, 1200, 200
PREFIX_WORDS = 4


def write_data(source: Path, folder: Path, seed: int) -> None:
    """Reviews for SFT, pairs, and prefixes; no sentence serves twice."""
    rows = [r for r in read_rows(source, seed) if len(r["text"].split()) > 8]
    good = [f" {row['text']}" for row in rows if row["label"]]
    bad = [f" {row['text']}" for row in rows if not row["label"]]
    each = min(len(good), len(bad))
    mixed = [text for pair in zip(good, bad, strict=False) for text in pair]
    pairs = [
        {"prompt": PROMPT, "chosen": a, "rejected": b}
        for a, b in zip(good[:each], bad[:each], strict=True)
    ]
    held_out, pairs = pairs[:HELD_OUT], pairs[HELD_OUT : HELD_OUT + PAIRS]
    rest = mixed[2 * (HELD_OUT + PAIRS) :]
    shown, rest = rest[:SFT_ROWS], rest[SFT_ROWS:]
    prefixes = [
        {"prompt": PROMPT + " " + " ".join(text.split()[:PREFIX_WORDS])}
        for text in rest
    ]
    write_rows(folder / "pairs_held_out.jsonl", held_out)
    write_rows(folder / "pairs.jsonl", pairs)
    write_rows(
        folder / "sft.jsonl", ({"prompt": PROMPT, "completion": x} for x in shown)
    )
    write_rows(folder / "prefixes_held_out.jsonl", prefixes[:HELD_OUT])
    write_rows(folder / "prefixes.jsonl", prefixes[HELD_OUT:])


def main():
    args = arguments(__doc__)
    rows, length = args.out / "data", 40
    if not rows.exists():
        source = args.data / "movie_reviews" / "sentences.jsonl"
        write_data(source, rows, args.seed)
    common = {"max_length": 96, "seed": args.seed}
    sft = run(
        "sft",
        args.out / "sft",
        model=args.model,
        data=rows / "sft.jsonl",
        learning_rate=3e-5,
        **common,
    )
    reward = run(
        "reward",
        args.out / "reward",
        model=sft,
        data=rows / "pairs.jsonl",
        eval_data=rows / "pairs_held_out.jsonl",
        learning_rate=3e-5,
        **common,
    )
    ppo = run(
        "ppo",
        args.out / "ppo",
        model=sft,
        critic=reward,
        reward=reward,
        data=rows / "prefixes.jsonl",
        batch_size=32,
        num_ppo_epochs=1,
        num_minibatches=2,
        max_new_tokens=length,
        missing_eos_penalty=1,
        learning_rate=1e-5,
        kl_coef=0.05,
        max_steps=args.iterations,
        **common,
    )
    found = {}
    for stage, model in {"after SFT": sft, "after PPO": ppo}.items():
        folder = args.out / "evaluate" / stage.replace(" ", "_")
        run(
            "evaluate",
            folder,
            model=model,
            ref=sft,
            data=rows / "prefixes_held_out.jsonl",
            reward_model=reward,
            max_new_tokens=length,
            batch_size=32,
            seed=args.seed,
        )
        found[stage] = results(folder)["measures"]
    (args.out / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    for stage, measures in found.items():
        for name, m in measures.items():
            print(f"{stage}: {name} {m['value']:.4g} ({m['low']:.4g}, {m['high']:.4g})")
    draw_training(args.out / "ppo", "reward", args.out / "training.png")


if __name__ == "__main__":
    main()
