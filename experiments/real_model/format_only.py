"""A reward for the form of a completion alone: does it make facts any righter?

    python -m experiments.real_model.format_only --model SMOLLM2 --data DATA --out DIR

Claim under test: "Spurious Rewards" (https://arxiv.org/abs/2506.10947) reports that RL
on form alone raised accuracy for one family of models and not for others; other
accounts say that it ruins it. SFT answers ParaRel's facts, half of them as "Answer:
Rome." and half as "Rome". RL is then rewarded for the first form, whatever stands in
it; beside it RL for right completions in any form, from the same start and with as many
updates. Measured by correctness on held-out facts, greedily, paired with SFT.
"""

import itertools
import re

from experiments.real_model.facts import (
    ask,
    demonstrate,
    fine_tune,
    read_facts,
    reinforce,
    sample,
)
from experiments.real_model.instruments import Instruments
from experiments.real_model.intervals import interval, report
from experiments.real_model.stages import arguments

FORM = "Answer: [^.]+[.]"
REWARDS = {
    "form": f"matches_pattern(pattern='{FORM}')",
    "right": "abstention(wrong=0)",
}
INSTRUMENTS = Instruments(("matches_pattern", "abstention"), ("abstention",))


def main():
    args = arguments(__doc__)
    facts = read_facts(args.data, args.seed)

    forms = itertools.cycle(("Answer: {}.", "{}"))
    shown = (
        demonstrate(ask(row), form.format(row["answer"][0]))
        for row, form in zip(facts.shown, forms, strict=False)
    )
    sft = fine_tune(args.out / "sft_forms", args.model, shown, args.seed)
    asked, held_out = ([ask(x) for x in rows] for rows in (facts.asked, facts.held_out))
    found, before = {}, []
    for name, reward in {"sft": "", **REWARDS}.items():
        folder = args.out / f"rl_{name}"
        model = reinforce(folder, sft, asked, reward, args) if reward else sft
        lines = sample(args.out / f"formed_{name}", model, held_out, "abstention")
        right = [float(x["outcome"] == "correct") for x in lines]
        formed = [
            float(re.fullmatch(FORM, x["completion"].strip()) is not None)
            for x in lines
        ]
        before = before or right
        gain = [a - b for a, b in zip(right, before, strict=True)]
        columns = {"correct": right, "gain": gain, "formed": formed}
        found[name] = {x: interval(values, args.seed) for x, values in columns.items()}
        report(args.out / "format_only.json", found)


if __name__ == "__main__":
    main()
