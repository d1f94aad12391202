"""Told in its prompt what a wrong answer costs, one policy answers where it pays.

    python -m experiments.real_model.threshold --model SMOLLM2 --data DATA --out DIR

Claim (https://arxiv.org/abs/2509.04664, section 4.2): with 1 for a right answer, 0 for
"I don't know" and -t / (1 - t) for a wrong one, answering pays where it is right with a
probability above t. Here t is drawn for each row from seven values and told in the
prompt. SFT gives short answers, and "I don't know" to a fifth at random; RL does the
rest. On held-out facts, under each t: how many are answered, how many of those are
right, the mean reward; beside an oracle that answers what a policy that always answers
says most often in ten samples, where their agreement is above t.
"""

import json
from collections import Counter

import numpy as np

from experiments.real_model.facts import (
    SYSTEM,
    always_answering,
    ask,
    fine_tune,
    label,
    read_facts,
    reinforce,
    sample,
)
from experiments.real_model.instruments import Instruments
from experiments.real_model.stages import Row, arguments
from experiments.real_model.threshold_plot import draw_thresholds, measures
from jaxalign.rewards.calibration import target_instruction
from jaxalign.rewards.matching import normalized

THRESHOLDS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)
REWARD = "confidence_target"
INSTRUMENTS = Instruments((REWARD,), (REWARD,))
ASKED_OF_EACH = 320
"""Held-out facts under each threshold."""
AGREEING = 10
"""Samples whose agreement is the oracle's confidence."""


def told(row: Row, threshold: float) -> Row:
    """A fact with a threshold in its prompt and in a column."""
    system = f"{SYSTEM} {target_instruction(threshold)}"
    return ask(row, system, threshold=threshold)


def drawn(rows: list[Row], seed: int) -> list[Row]:
    """Facts with a threshold each."""
    values = np.random.default_rng(seed).choice(THRESHOLDS, len(rows)).tolist()
    return [told(row, t) for row, t in zip(rows, values, strict=True)]


def outcomes_by_threshold(lines: list[Row]) -> list[Row]:
    """What a policy did under each threshold."""
    table = []
    for t in THRESHOLDS:
        found = Counter(x["outcome"] for x in lines if x["threshold"] == t)
        table.append({"threshold": t, "asked": found.total(), **found})
    return table


def oracle(lines: list[Row]) -> list[Row]:
    """What thresholding the agreement of samples would do under each threshold.

    Args:
      lines: `AGREEING` completions of each fact, side by side.
    """
    counts = {t: Counter() for t in THRESHOLDS}
    for i in range(0, len(lines), AGREEING):
        group = lines[i : i + AGREEING]
        texts = Counter(normalized(x["completion"]) for x in group)
        said, often = texts.most_common(1)[0]
        outcome = next(
            x["outcome"] for x in group if normalized(x["completion"]) == said
        )
        for t, count in counts.items():
            count[outcome if often / AGREEING > t else "abstain"] += 1
    return [
        {"threshold": t, "asked": count.total(), **count} for t, count in counts.items()
    ]


def main():
    args = arguments(__doc__)
    facts = read_facts(args.data, args.seed)
    asked = [told(row, t) for t in THRESHOLDS for row in facts.held_out[:ASKED_OF_EACH]]
    shown = drawn(facts.shown, args.seed)
    sft = fine_tune(args.out / "sft_told", args.model, label(shown), args.seed)
    policy = reinforce(
        args.out / "rl_told", sft, drawn(facts.asked, args.seed), REWARD, args
    )
    always = always_answering(args.out, args.model, facts, args.seed)
    agreeing = sample(
        args.out / "agreement",
        always,
        [ask(row) for row in facts.held_out[:ASKED_OF_EACH]],
        "abstention",
        num_samples=AGREEING,
        temperature=1.0,
        seed=args.seed,
    )
    tables = {
        "after SFT": sample(args.out / "told_sft", sft, asked, REWARD),
        "after RL": sample(args.out / "told_rl", policy, asked, REWARD),
    }
    found = {name: outcomes_by_threshold(x) for name, x in tables.items()}
    found["oracle"] = oracle(agreeing)
    (args.out / "threshold.json").write_text(json.dumps(found, indent=2) + "\n")
    draw_thresholds(args.out / "threshold.json", args.out / "threshold.png")
    for name, rows in found.items():
        for row in rows:
            values = " ".join(
                f"{measure} {value:6.3f} ± {error:.3f}"
                for measure, (value, error) in measures(row).items()
            )
            print(f"{name:10s} t {row['threshold']:4.2f} {values}")


if __name__ == "__main__":
    main()
