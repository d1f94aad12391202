"""A reward model from a real model, and how well it orders pairs that it never saw.

    python -m experiments.real_model.preference --model SMOLLM2 --data DATA --out DIR

Pairs are those of DATA/instruct_pref: two answers to a short task, one polite and one
not. The table has, for held-out pairs, how often the better answer gets more from the
model's own log-probabilities and from the reward model, with bootstrap intervals.

SmolLM2-135M-Instruct, two CPU cores: see README.md for time and results.
"""

import json

from experiments.real_model.stages import arguments, read_rows, results, run, write_rows

HELD_OUT = 200


def main():
    args = arguments(__doc__)
    rows, held_out = args.out / "pairs.jsonl", args.out / "held_out.jsonl"
    if not rows.exists():
        pairs = read_rows(
            args.data / "instruct_pref" / "instruct_pref.jsonl", args.seed
        )
        write_rows(held_out, pairs[:HELD_OUT])
        write_rows(rows, pairs[HELD_OUT:])
    reward = run(
        "reward",
        args.out / "reward",
        model=args.model,
        data=rows,
        eval_data=held_out,
        max_length=512,
        learning_rate=2e-5,
        seed=args.seed,
    )
    found = {}
    for name, model in {
        "log-probabilities": args.model,
        "reward model": reward,
    }.items():
        folder = args.out / "evaluate" / name.replace(" ", "_")
        run("evaluate", folder, model=model, data=held_out, seed=args.seed)
        found[name] = results(folder)["measures"]
    (args.out / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    for name, measures in found.items():
        key = next(x for x in measures if x.endswith("/accuracies"))
        m = measures[key]
        print(f"{name}: {m['value']:.1%} ({m['low']:.1%}, {m['high']:.1%})")


if __name__ == "__main__":
    main()
