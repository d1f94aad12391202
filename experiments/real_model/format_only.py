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
from typing import Any

from experiments.real_model.arms import Scale, Table, measure_seeds
from experiments.real_model.facts import (
    ask,
    demonstrate,
    fine_tune,
    read_facts,
    reinforce,
    sample,
)
from experiments.real_model.instruments import Instruments
from experiments.real_model.intervals import interval

FORM = "Answer: [^.]+[.]"
REWARDS = {
    "form": f"matches_pattern(pattern='{FORM}')",
    "right": "abstention(wrong=0)",
}
INSTRUMENTS = Instruments(("matches_pattern", "abstention"), ("abstention",))


def measure_seed(args: Any, scale: Scale, table: Table, seed: int) -> None:
    """SFT, and RL for each reward from it."""
    out = args.out / f"seed_{seed}"
    facts = read_facts(args.data, seed)
    forms = itertools.cycle(("Answer: {}.", "{}"))
    shown = (
        demonstrate(ask(row), form.format(row["answer"][0]))
        for row, form in zip(facts.shown, forms, strict=False)
    )
    sft = fine_tune(out / "sft_forms", args.model, shown, seed)
    asked, held_out = ([ask(x) for x in rows] for rows in (facts.asked, facts.held_out))
    steps = scale.iterations * args.iterations
    for name, reward in {"sft": "", **REWARDS}.items():
        if table.has(name, 0, seed):
            continue
        folder, model = out / f"rl_{name}", sft
        if reward:
            model = reinforce(folder, sft, asked, reward, steps, seed)
        before, after = (
            sample(out / f"formed_{x}", m, held_out, "abstention")
            for x, m in (("sft", sft), (name, model))
        )
        was, right = (
            [float(x["outcome"] == "correct") for x in lines]
            for lines in (before, after)
        )
        said = [x["completion"].strip() for x in after]
        columns = {
            "correct": right,
            "gain": [a - b for a, b in zip(right, was, strict=True)],
            "formed": [float(re.fullmatch(FORM, x) is not None) for x in said],
        }
        found = {x: interval(values, seed) for x, values in columns.items()}
        table.add(name, 0, seed, **found)


def main():
    measure_seeds(__doc__, "format_only.csv", measure_seed)


if __name__ == "__main__":
    main()
