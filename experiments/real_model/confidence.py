"""A proper score as reward makes a policy state how likely it is right.

    python -m experiments.real_model.confidence --model SMOLLM2 --data DATA --out DIR

Claim (RLCR, https://arxiv.org/abs/2507.16806): 1[right] - (q - 1[right])² as reward, q
being the confidence that the completion states, teaches calibration and costs no
accuracy. SFT gives the form, "Rome. Confidence: 40%", with confidences drawn at random,
so that they say nothing. RL with that reward, with the logarithmic score, and with 1
for right answers alone, is measured on held-out facts: calibration error, Brier score,
AUROC, accuracy.
"""

import json

import numpy as np

from experiments.real_model.facts import (
    SYSTEM,
    ask,
    demonstrate,
    fine_tune,
    read_facts,
    reinforce,
    sample,
)
from experiments.real_model.instruments import Instruments
from experiments.real_model.intervals import report
from experiments.real_model.speaking_plot import draw_speaking, stated
from experiments.real_model.stages import arguments, results

ASKED = f"{SYSTEM} Then say how sure you are, from 0% to 100%."
REWARDS = {
    "brier": "brier",
    "log_score": "log_score",
    # What states the confidence is no part of the answer, so `contains` reads past it.
    "binary": "abstention(wrong=0)",
}
MEASURES = (
    "abstention/accuracy",
    "calibration/ece_equal_mass",
    "calibration/ece_equal_width",
    "calibration/brier",
    "calibration/auroc",
    "calibration/confidence",
)
INSTRUMENTS = Instruments(("brier", "log_score", "abstention"), ("brier",))


def main():
    args = arguments(__doc__)
    facts = read_facts(args.data, args.seed)
    drawn = np.random.default_rng(args.seed).integers(1, 10, len(facts.shown)) * 10

    shown = (
        demonstrate(ask(row, ASKED), f"{row['answer'][0]}. Confidence: {percent}%")
        for row, percent in zip(facts.shown, drawn, strict=True)
    )
    sft = fine_tune(args.out / "sft_stating", args.model, shown, args.seed)
    held_out = [ask(row, ASKED) for row in facts.held_out]
    asked = [ask(row, ASKED) for row in facts.asked]
    found, answers = {}, {}
    for name, reward in {"sft": "", **REWARDS}.items():
        folder = args.out / f"rl_{name}"
        model = reinforce(folder, sft, asked, reward, args) if reward else sft
        folder = args.out / f"stating_{name}"
        lines = sample(folder, model, held_out, "brier", seed=args.seed)
        answers[name] = {"asked": len(lines), "stated": stated(lines)}
        measures = results(folder)["measures"]
        found[name] = {x: measures[x] for x in MEASURES if x in measures}
        report(args.out / "confidence.json", found)
        table = args.out / "stated.json"
        table.write_text(json.dumps(answers) + "\n")
        points = args.out / "frontier.json"
        draw_speaking(table, points, args.out / "speaking.png")


if __name__ == "__main__":
    main()
