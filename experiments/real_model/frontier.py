"""What is made up against what is right, by ways of teaching to say "I don't know".

    python -m experiments.real_model.frontier --model SMOLLM2 --data DATA --out DIR

Claims: rewards that punish wrong answers move a policy along a frontier that
demonstrations do not reach (Goldberg,
https://gist.github.com/yoavg/6bff0fecd65950898eba1bb321cfbd81); against it stand
R-Tuning (https://arxiv.org/abs/2311.09677), which demonstrates "I don't know" where the
model was wrong before, and DPO on the model's own right, silent and wrong completions.
R-Tuning is done to the model that was never trained, and to the one that SFT made
answer always, on facts that it was not shown; RL starts from the labeller's silence,
and from the second R-Tuning.
All are measured greedily on held-out facts; `known` are those that the model samples
right at least half of the time before any training. A row of frontier.csv after each
arm; an arm that has its row is not run again.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from experiments.real_model.arms import Scale, Table, measure_seeds
from experiments.real_model.facts import (
    ABSTAIN,
    SYSTEM,
    Facts,
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

REINFORCED = (
    ("rl", 1),
    ("rl", 0.25),
    ("rl_r_tuning", 1),
    ("rl", 3),
    ("rl", 9),
)
"""Arms of RL, by where they start, and what a wrong answer costs."""
HONEST = f'{SYSTEM} If you are not sure, say "I don\'t know".'
PAIRED, SAMPLES = 480, 6
"""Facts that make preference pairs, and completions of each."""
TUNED = 1280
"""Facts that say what the policy that always answers knows."""
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


def tuned(prompts: Iterable[Row], knows: Iterable[bool]) -> Iterator[Row]:
    """Answers to what a model knows, silence to the rest."""
    for prompt, is_known in zip(prompts, knows, strict=True):
        yield demonstrate(prompt, prompt["answer"][0] if is_known else ABSTAIN)


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


class Models(NamedTuple):
    """What the arms of a seed are measured of; each is trained when it is asked for.

    Attributes:
      out: Of the runs.
      base: The model that was never trained.
      facts: What it is asked.
      seed: Of all runs.
    """

    out: Path
    base: Path
    facts: Facts
    seed: int

    def demonstrated(self) -> Path:
        shown = map(ask, self.facts.shown)
        return fine_tune(self.out / "sft", self.base, label(shown), self.seed)

    def always(self) -> Path:
        return always_answering(self.out, self.base, self.facts, self.seed)

    def r_tuning(self) -> Path:
        return self.tuned_by("known_shown", self.base, self.facts.shown, "r_tuning")

    def r_tuning_of_sft(self) -> Path:
        # Not on what SFT was shown, which it knows by heart.
        asked = self.facts.asked[:TUNED]
        return self.tuned_by("known_always", self.always(), asked, "r_tuning_sft")

    def tuned_by(self, known: str, model: Path, facts: list[Row], name: str) -> Path:
        """R-Tuning of a model, by what it knows of some facts."""
        knows = known_facts(self.out / known, model, facts, self.seed)
        rows = tuned(map(ask, facts), knows)
        return fine_tune(self.out / name, model, rows, self.seed)

    def preferred(self) -> Path:
        model = self.demonstrated()
        own = sample(
            self.out / "own",
            model,
            map(ask, self.facts.asked[:PAIRED]),
            "abstention",
            num_samples=SAMPLES,
            temperature=1.0,
            seed=self.seed,
        )
        return prefer(self.out / "dpo", model, own, self.seed)

    def reinforced(self, arm: str, penalty: float, steps: int) -> Path:
        start = {"rl": self.demonstrated, "rl_r_tuning": self.r_tuning_of_sft}[arm]()
        folder = self.out / f"{arm}_{penalty:g}"
        reward = f"abstention(wrong=-{penalty:g})"
        asked = map(ask, self.facts.asked)
        return reinforce(folder, start, asked, reward, steps, self.seed)


def measure_seed(args: Any, scale: Scale, table: Table, seed: int) -> None:
    """All arms of one seed."""
    out = args.out / f"seed_{seed}"
    models = Models(out, args.model, read_facts(args.data, seed), seed)

    def measure(
        arm: str, train: Callable[[], Path], system: str = SYSTEM, penalty: float = 0
    ) -> None:
        if table.has(arm, penalty, seed):
            return
        held_out = models.facts.held_out
        known = known_facts(out / "known", args.model, held_out, seed)
        rows = [
            ask(row, system, known=is_known)
            for row, is_known in zip(held_out, known, strict=True)
        ]
        folder = out / f"frontier_{arm}_{penalty:g}"
        flags = {"known": "known", "seed": seed}
        lines = sample(folder, train(), rows, "abstention", **flags)
        table.add(arm, penalty, seed, **shares(lines, seed))
        draw_speaking(args.out)

    measure("sft", models.demonstrated)
    measure("always", models.always)
    measure("prompted", models.always, HONEST)
    measure("r_tuning", models.r_tuning)
    measure("r_tuning_sft", models.r_tuning_of_sft)
    measure("dpo", models.preferred)
    # Last, for each takes as long as all the others together.
    steps = scale.iterations * args.iterations
    for arm, penalty in REINFORCED:
        train = partial(models.reinforced, arm, penalty, steps)
        measure(arm, train, penalty=penalty)


def main():
    measure_seeds(__doc__, "frontier.csv", measure_seed)


if __name__ == "__main__":
    main()
