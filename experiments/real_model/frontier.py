"""What is made up against what is right, by ways of teaching to say "I don't know".

    python -m experiments.real_model.frontier --model SMOLLM2 --data DATA --out DIR

Claims: rewards that punish wrong answers move a policy along a frontier that
demonstrations do not reach (Goldberg,
https://gist.github.com/yoavg/6bff0fecd65950898eba1bb321cfbd81); against it stand
R-Tuning (https://arxiv.org/abs/2311.09677), which demonstrates "I don't know" where the
model was wrong before, and DPO on the model's own right, silent and wrong completions.
All are measured greedily on held-out facts; `known` are those that the model samples
right at least half of the time before any training.
"""

import json
from collections import Counter
from pathlib import Path

from experiments.real_model.facts import (
    ABSTAIN,
    SYSTEM,
    always_answering,
    ask,
    demonstrate,
    fine_tune,
    known_facts,
    label,
    read_facts,
    reinforce,
    said,
    sample,
)
from experiments.real_model.instruments import Instruments
from experiments.real_model.stages import Row, arguments, run, write_beside

PENALTIES = (1, 0.25, 3, 9)
HONEST = f'{SYSTEM} If you are not sure, say "I don\'t know".'
PAIRED, SAMPLES = 480, 6
"""Facts that make preference pairs, and completions of each."""
ORDER = ("correct", "abstain", "wrong")
INSTRUMENTS = Instruments(("abstention",), ("abstention",))


def pairs_of(lines: list[Row]) -> list[Row]:
    """Each fact's own completions as pairs: right over silent over wrong.

    Args:
      lines: `SAMPLES` completions of each fact, side by side.
    """
    pairs = []
    for i in range(0, len(lines), SAMPLES):
        group = lines[i : i + SAMPLES]
        best = {x["outcome"]: x["completion"] for x in group}
        there = [best[x] for x in ORDER if x in best]
        pairs += [
            {"prompt": group[0]["prompt"], "chosen": said(a), "rejected": said(b)}
            for n, a in enumerate(there)
            for b in there[n + 1 :]
        ]
    return pairs


def prefer(folder: Path, model: Path, lines: list[Row], seed: int) -> Path:
    """DPO on those pairs."""
    return run(
        "dpo",
        folder,
        model=model,
        data=write_beside(folder, pairs_of(lines)),
        max_length=160,
        learning_rate=1e-5,
        seed=seed,
    )


def main():
    args = arguments(__doc__)
    facts = read_facts(args.data, args.seed)
    held_out = facts.held_out
    known = known_facts(args.out / "known", args.model, held_out, args.seed)
    found = {}

    def measure(name: str, model: Path, system: str = SYSTEM) -> None:
        rows = [
            ask(row, system, known=k) for row, k in zip(held_out, known, strict=True)
        ]
        lines = sample(
            args.out / f"frontier_{name}",
            model,
            rows,
            "abstention",
            known="known",
            seed=args.seed,
        )
        groups = {True: "known", False: "unknown"}
        counts: dict[str, Counter] = {x: Counter() for x in groups.values()}
        for line in lines:
            counts[groups[line["known"]]][line["outcome"]] += 1
        found[name] = counts
        # After each arm, so that a chain that is cut short leaves what it found.
        (args.out / "frontier.json").write_text(json.dumps(found, indent=2) + "\n")
        whole = counts["known"] + counts["unknown"]
        shares = (f"{x} {whole[x] / whole.total():6.1%}" for x in ORDER)
        print(f"{name:12s}", *shares, flush=True)

    shown = list(map(ask, facts.shown))
    sft = fine_tune(args.out / "sft", args.model, label(shown), args.seed)
    measure("sft", sft)
    prompts = [ask(row) for row in facts.asked]
    always = always_answering(args.out, args.model, facts, args.seed)
    measure("always", always)
    measure("prompted", always, HONEST)
    knows = known_facts(args.out / "known_shown", args.model, facts.shown, args.seed)
    tuned = (
        demonstrate(prompt, prompt["answer"][0] if is_known else ABSTAIN)
        for prompt, is_known in zip(shown, knows, strict=True)
    )
    r_tuning = fine_tune(args.out / "r_tuning", args.model, tuned, args.seed)
    measure("r_tuning", r_tuning)
    own = sample(
        args.out / "own",
        sft,
        prompts[:PAIRED],
        "abstention",
        num_samples=SAMPLES,
        temperature=1.0,
        seed=args.seed,
    )
    measure("dpo", prefer(args.out / "dpo", sft, own, args.seed))
    # Last, for each takes as long as all the others together.
    for penalty in PENALTIES:
        folder = args.out / f"rl_{penalty}"
        policy = reinforce(folder, sft, prompts, f"abstention(wrong=-{penalty})", args)
        measure(f"rl_{penalty}", policy)


if __name__ == "__main__":
    main()
