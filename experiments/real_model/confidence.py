"""A proper score as reward makes a policy state how likely it is right.

    python -m experiments.real_model.confidence --model SMOLLM2 --data DATA --out DIR

Claim (RLCR, https://arxiv.org/abs/2507.16806): 1[right] - (q - 1[right])² as reward, q
being the confidence that the completion states, teaches calibration and costs no
accuracy. SFT gives the form, "Rome. Confidence: 40%", with confidences drawn at random,
so that they say nothing. A second SFT states how often the first was right in eight
samples of a question, on answers of its own (P(IK), https://arxiv.org/abs/2207.05221).
RL from either with that reward, with the logarithmic score, and with 1 for right
answers alone, is measured on held-out facts: calibration error, Brier score, AUROC,
accuracy. A row of confidence.csv after each arm; one that has its row is not run again.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.real_model.arms import Scale, Table, measure_seeds
from experiments.real_model.facts import (
    SYSTEM,
    Facts,
    ask,
    demonstrate,
    fine_tune,
    read_facts,
    reinforce,
    sample,
)
from experiments.real_model.instruments import Instruments
from experiments.real_model.speaking_plot import draw_speaking, stated
from experiments.real_model.stages import Row, results

ASKED = f"{SYSTEM} Then say how sure you are, from 0% to 100%."
SAMPLES, SAMPLED = 8, 640
"""Of a fact, and facts, that say what the first SFT knows."""


class Arm(NamedTuple):
    """A policy: where it starts, and what it is rewarded for; "" for no RL."""

    start: str
    reward: str = ""


# In the order of what they say, so that a chain cut short leaves the most.
ARMS = {
    "stating": Arm("stating"),
    "brier": Arm("stating", "brier"),
    # What states the confidence is no part of the answer, so `contains` reads past it.
    "binary": Arm("stating", "abstention(wrong=0)"),
    "knowing": Arm("knowing"),
    "knowing_brier": Arm("knowing", "brier"),
    "knowing_log_score": Arm("knowing", "log_score"),
    "log_score": Arm("stating", "log_score"),
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


def stating(prompt: Row, answer: str, tenths: int) -> Row:
    """A demonstration of an answer and a confidence."""
    return demonstrate(prompt, f"{answer}. Confidence: {10 * tenths}%")


def knowing(lines: Sequence[Row]) -> Iterator[Row]:
    """Each fact's most frequent answer, stated as sure as it was right in samples.

    Args:
      lines: `SAMPLES` completions of each fact, side by side.
    """
    for i in range(0, len(lines), SAMPLES):
        group = lines[i : i + SAMPLES]
        answers = Counter(x["completion"].split(". Confidence")[0] for x in group)
        right = sum(x["outcome"] == "correct" for x in group)
        # Laplace's estimate (k + 1) / (n + 2): eight samples make nobody certain.
        yield stating(group[0], answers.most_common(1)[0][0], right + 1)


def start(out: Path, model: Path, facts: Facts, seed: int) -> dict[str, Path]:
    """Both SFT models by name; the second is trained on from the first."""
    drawn = np.random.default_rng(seed).integers(1, 10, len(facts.shown))
    shown = (
        stating(ask(row, ASKED), row["answer"][0], tenths)
        for row, tenths in zip(facts.shown, drawn, strict=True)
    )
    first = fine_tune(out / "sft_stating", model, shown, seed)
    own = sample(
        out / "own_stating",
        first,
        [ask(row, ASKED) for row in facts.asked[:SAMPLED]],
        "brier",
        num_samples=SAMPLES,
        temperature=1.0,
        seed=seed,
    )
    second = fine_tune(out / "sft_knowing", first, knowing(own), seed)
    return {"stating": first, "knowing": second}


def measure_seed(args: Any, scale: Scale, table: Table, seed: int) -> None:
    """All arms of one seed."""
    out = args.out / f"seed_{seed}"
    facts = read_facts(args.data, seed)
    held_out, asked = (
        [ask(row, ASKED) for row in rows] for rows in (facts.held_out, facts.asked)
    )
    for name, arm in ARMS.items():
        if table.has(name, 0, seed):
            continue
        model = start(out, args.model, facts, seed)[arm.start]
        if arm.reward:
            folder, steps = out / f"rl_{name}", scale.iterations * args.iterations
            model = reinforce(folder, model, asked, arm.reward, steps, seed)
        folder = out / f"stated_{name}"
        lines = sample(folder, model, held_out, "brier", seed=seed)
        keep_stated(args.out / "stated.json", seed, name, lines)
        measures = results(folder)["measures"]
        found = {x: measures[x] for x in MEASURES if x in measures}
        table.add(name, 0, seed, **found)
        draw_speaking(args.out)


def keep_stated(file: Path, seed: int, arm: str, lines: list[Row]) -> None:
    """Adds what the plot is drawn from: counts at each confidence that was stated."""
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    counts = {"asked": len(lines), "stated": stated(lines)}
    found.setdefault(str(seed), {})[arm] = counts
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found) + "\n", encoding="utf-8")
    part.replace(file)


def main():
    measure_seeds(__doc__, "confidence.csv", measure_seed)


if __name__ == "__main__":
    main()
