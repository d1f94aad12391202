"""Told in its prompt what a wrong answer costs, one policy answers where it pays.

    python -m experiments.real_model.threshold --model SMOLLM2 --data DATA --out DIR

Claim (https://arxiv.org/abs/2509.04664, section 4.2): with 1 for a right answer, 0 for
"I don't know" and -t / (1 - t) for a wrong one, answering pays where it is right with a
probability above t. Here t is drawn for each row from seven values and told in the
prompt. SFT gives short answers, and "I don't know" to a fifth at random; RL does the
rest. On held-out facts, under each t: how many are answered, how many of those are
right, the mean reward; beside an oracle that answers what a policy that always answers
says most often in ten samples, where their agreement is above t. Rows of threshold.csv
after each policy; one that has its rows is not run again.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.real_model.arms import Scale, Table, measure_seeds
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
from experiments.real_model.intervals import interval
from experiments.real_model.stages import Row
from experiments.real_model.threshold_plot import draw_thresholds
from jaxalign.rewards.abstention import wrong_reward
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


def under(lines: list[Row], threshold: float) -> list[str]:
    """The outcomes of what was told that threshold."""
    return [x["outcome"] for x in lines if x["threshold"] == threshold]


def agreed(lines: list[Row]) -> list[tuple[str, float]]:
    """What samples of a fact say most often: its outcome, and the share that says it.

    Args:
      lines: `AGREEING` completions of each fact, side by side.
    """
    found = []
    for i in range(0, len(lines), AGREEING):
        group = lines[i : i + AGREEING]
        texts = [normalized(x["completion"]) for x in group]
        text, often = Counter(texts).most_common(1)[0]
        found.append((group[texts.index(text)]["outcome"], often / AGREEING))
    return found


def measures(outcomes: list[str], threshold: float, seed: int) -> dict[str, Any]:
    """Shares and the mean reward, with intervals; none of no rows."""
    scores = {"correct": 1.0, "abstain": 0.0, "wrong": wrong_reward(threshold)}
    answered = [x != "abstain" for x in outcomes]
    right = [x == "correct" for x in outcomes if x != "abstain"]
    columns = {
        "answered": answered,
        "right": right,
        "reward": [scores[x] for x in outcomes],
    }
    return {name: interval(x, seed) for name, x in columns.items() if x}


def measure_seed(args: Any, scale: Scale, table: Table, seed: int) -> None:
    """All policies of one seed, under all thresholds."""
    out = args.out / f"seed_{seed}"
    facts = read_facts(args.data, seed)
    held_out = facts.held_out[:ASKED_OF_EACH]

    def measure(arm: str, outcomes: Callable[[], Mapping[float, list[str]]]) -> None:
        if table.has(arm, THRESHOLDS[-1], seed):
            return
        for t, found in outcomes().items():
            if not table.has(arm, t, seed):
                table.add(arm, t, seed, **measures(found, t, seed))
        draw_thresholds(table.file, table.file.with_suffix(".png"))

    def told_policy(folder: Path, model: Path) -> dict[float, list[str]]:
        asked = [told(row, t) for t in THRESHOLDS for row in held_out]
        lines = sample(folder, model, asked, REWARD)
        return {t: under(lines, t) for t in THRESHOLDS}

    def start() -> Path:
        shown = drawn(facts.shown, seed)
        return fine_tune(out / "sft_told", args.model, label(shown), seed)

    def after_sft() -> dict[float, list[str]]:
        return told_policy(out / "told_sft", start())

    def after_rl() -> dict[float, list[str]]:
        folder, steps = out / "rl_told", scale.iterations * args.iterations
        asked = drawn(facts.asked, seed)
        policy = reinforce(folder, start(), asked, REWARD, steps, seed)
        return told_policy(out / "told_rl", policy)

    def oracle() -> dict[float, list[str]]:
        model = always_answering(out, args.model, facts, seed)
        asked = [ask(row) for row in held_out]
        flags = {"num_samples": AGREEING, "temperature": 1.0, "seed": seed}
        sure = agreed(sample(out / "agreement", model, asked, "abstention", **flags))
        return {t: [x if q > t else "abstain" for x, q in sure] for t in THRESHOLDS}

    measure("after SFT", after_sft)
    measure("oracle", oracle)
    measure("after RL", after_rl)


def main():
    measure_seeds(__doc__, "threshold.csv", measure_seed)


if __name__ == "__main__":
    main()
