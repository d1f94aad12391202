"""What is made up against what is right, by ways of teaching to say "I don't know".

    python -m experiments.real_model.frontier --model SMOLLM2 --data DATA --out DIR

Claims: rewards that punish wrong answers move a policy along a frontier that
demonstrations do not reach (Goldberg,
https://gist.github.com/yoavg/6bff0fecd65950898eba1bb321cfbd81); against it stand
R-Tuning (https://arxiv.org/abs/2311.09677), which demonstrates "I don't know" where the
model was wrong before, and DPO on the model's own right, silent and wrong completions.
All are measured greedily on held-out facts; `known` are those that the model samples
right at least half of the time before any training. A row of frontier.csv after each
arm; an arm that has its row is not run again.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from experiments.real_model.arms import Scale, Table, measure_seeds
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
from experiments.real_model.intervals import interval
from experiments.real_model.speaking_plot import draw_speaking
from experiments.real_model.stages import Row, run, write_beside

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


def shares(lines: list[Row], seed: int) -> dict[str, dict[str, float]]:
    """Outcomes of all facts and of known ones, with intervals; none of no rows."""
    answered = [x for x in lines if x["outcome"] != "abstain"]
    groups = {
        "right_of_answered": ("correct", answered),
        "known_correct": ("correct", [x for x in lines if x["known"]]),
        "unknown_wrong": ("wrong", [x for x in lines if not x["known"]]),
    }
    wanted = {x: (x, lines) for x in ORDER} | groups
    return {
        name: interval((x["outcome"] == outcome for x in rows), seed)
        for name, (outcome, rows) in wanted.items()
        if rows
    }


def measure_seed(args: Any, scale: Scale, table: Table, seed: int) -> None:
    """All arms of one seed."""
    out = args.out / f"seed_{seed}"
    facts = read_facts(args.data, seed)

    def measure(
        arm: str, train: Callable[[], Path], system: str = SYSTEM, penalty: float = 0
    ) -> None:
        if table.has(arm, penalty, seed):
            return
        known = known_facts(out / "known", args.model, facts.held_out, seed)
        held_out = zip(facts.held_out, known, strict=True)
        rows = [ask(row, system, known=is_known) for row, is_known in held_out]
        folder = out / f"frontier_{arm}_{penalty:g}"
        flags = {"known": "known", "seed": seed}
        lines = sample(folder, train(), rows, "abstention", **flags)
        table.add(arm, penalty, seed, **shares(lines, seed))
        draw_speaking(args.out)

    shown, asked = ([ask(row) for row in rows] for rows in (facts.shown, facts.asked))

    def demonstrated() -> Path:
        return fine_tune(out / "sft", args.model, label(shown), seed)

    def always() -> Path:
        return always_answering(out, args.model, facts, seed)

    def r_tuning() -> Path:
        knows = known_facts(out / "known_shown", args.model, facts.shown, seed)
        tuned = (
            demonstrate(prompt, prompt["answer"][0] if is_known else ABSTAIN)
            for prompt, is_known in zip(shown, knows, strict=True)
        )
        return fine_tune(out / "r_tuning", args.model, tuned, seed)

    def preferred() -> Path:
        flags = {"num_samples": SAMPLES, "temperature": 1.0, "seed": seed}
        some, reward = asked[:PAIRED], "abstention"
        own = sample(out / "own", demonstrated(), some, reward, **flags)
        return prefer(out / "dpo", demonstrated(), own, seed)

    def reinforced(penalty: float) -> Path:
        folder, reward = out / f"rl_{penalty:g}", f"abstention(wrong=-{penalty:g})"
        steps = scale.iterations * args.iterations
        return reinforce(folder, demonstrated(), asked, reward, steps, seed)

    measure("sft", demonstrated)
    measure("always", always)
    measure("prompted", always, HONEST)
    measure("r_tuning", r_tuning)
    measure("dpo", preferred)
    # Last, for each takes as long as all the others together.
    for penalty in PENALTIES:
        measure("rl", partial(reinforced, penalty), penalty=penalty)


def main():
    measure_seeds(__doc__, "frontier.csv", measure_seed)


if __name__ == "__main__":
    main()
