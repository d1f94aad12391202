"""Which training makes a model say "I don't know", and from which confidence on.

    python -m experiments.e05_abstention.run --out runs/e05 --check

SFT on facts that a model does not know teaches it to make things up (Gekhman et al.,
https://arxiv.org/abs/2405.05904); a reward of three values teaches it to abstain, at a
threshold that the rewards set (Kalai et al., https://arxiv.org/abs/2509.04664). A
network has read 600 facts, half of them often and half never; it is trained on the even
ones and measured on the odd ones, with its embeddings frozen, by its exact
probabilities of being right, of abstaining and of being wrong. Beside SFT and R-Tuning
(https://arxiv.org/abs/2311.09677), RL under four rewards; the `threshold` arms have
2000 facts of any frequency c, true with probability c, and a wrong answer costs
t / (1 - t); the `unseeded` arms have never read "I don't know". Judges that err pass
wrong answers (`lenient`), fail right ones (`strict`) or both, in so many of a hundred.
The `transformer` arms have two Llama layers in place of the perceptron; so has the
model of modes.py, which answers three kinds of queries: about a given text, about what
it knows, and to invent (Goldberg,
https://gist.github.com/yoavg/6bff0fecd65950898eba1bb321cfbd81).

45 minutes on two cores beside a training run, the transformers 35 of them; seeds and
rewards of an arm are one program. Expected (expected.json), three seeds: unknown facts
are answered wrongly by SFT and by RL without a reward for abstaining (measured: 0.97
and 0.98 at least), not by RL with rewards 1, 0, -1 (0.002 at most), which gives the
right answer to known ones (0.98 at least). R-Tuning, which looks at what the model
knows, does nearly as well on unknown facts (0.011 to 0.014 wrong), and worse on known
ones (0.88 to 0.91 right). With 1 for abstaining nothing is answered. RL does not find
what it never samples; 300 updates of SFT with a tenth of "I don't know" cure that.
Answers begin at t within 0.1, on average over seeds, for t up to ½; for 0.65 and 0.8 RL
has learned to say nothing before it knows which facts are worth it. A judge that passes
three wrong answers in ten makes 0.69 of the questions answered or more (0.71 by the
law), one that fails a tenth of the right ones 0.37 or less (0.44). A transformer does
as the perceptron does, but R-Tuning serves it as well as RL. Of three kinds of queries
RL leaves unsaid only what is not known: given answers are repeated (0.9997) and
inventions made (1.0), unknown facts are answered wrongly in 0.02 to 0.08.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from experiments import sweep
from experiments.e05_abstention.arms import (
    JUDGES,
    LAW,
    QUERIES,
    RL,
    SFT,
    SHARED,
    THRESHOLDS,
    UNSEEDED,
    Plan,
    Trained,
    judged_threshold,
    trained,
)
from experiments.e05_abstention.facts import IDK
from experiments.e05_abstention.plot import plot
from experiments.e12_threshold.run import crossing
from experiments.runner import Experiment, Result, main


@dataclass(frozen=True)
class Config:
    """One seed of an arm. `together` are all the seeds: they are one program."""

    arm: str = "base"
    threshold: float = 0.0
    key: int = 0
    together: tuple[int, ...] = (0, 1, 2)
    pretrain_steps: int = 4000
    sft_steps: int = 500
    rl_steps: int = 1500


BASE = Config()
JUDGED = {
    "arm": list(JUDGES),
    "threshold": [judged_threshold(*errors) for errors in JUDGES.values()],
}
"""An arm for each judge, with the threshold that its errors make."""


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    seeds = tuple(seeds[:1] if quick else seeds)
    arms = sweep.chain(
        sweep.grid(arm=["base", *SFT, *RL]),
        sweep.grid(arm=[] if quick else UNSEEDED),
        sweep.grid(arm=LAW, threshold=() if quick else THRESHOLDS),
        sweep.zipped(**({} if quick else JUDGED)),
        sweep.grid(arm=[] if quick else QUERIES),
        sweep.grid(arm=[] if quick else [SHARED + x for x in ("base", *SFT, *RL)]),
    )
    same = {"together": seeds}
    if quick:
        same |= {"pretrain_steps": 500, "sft_steps": 100, "rl_steps": 100}
    return sweep.configs(BASE, [a | same | {"key": s} for a in arms for s in seeds])


def run(config: Config) -> Result:
    plan = Plan(
        config.pretrain_steps, config.sft_steps, config.rl_steps, config.together
    )
    found = trained(config.arm, config.threshold, plan)
    own = jax.tree.map(lambda x: np.asarray(x[plan.seeds.index(config.key)]), found)
    row = {"arm": config.arm, "threshold": config.threshold, "key": config.key}
    return Result(row | outcomes(own) | of_confidence(own, config.threshold), [])


def outcomes(own: Trained) -> dict[str, float]:
    """Right, abstaining and wrong on known and on unknown facts, held out."""
    right, silent = _right(own.after, own.facts.truth), own.after[:, IDK]
    known, odd = own.facts.known, np.arange(len(right)) % 2 == 1
    trained_on = ~odd & ~known
    row = {"unknown_right_in_training": float(right[trained_on].mean())}
    for name, rows in (("known", known & odd), ("unknown", ~known & odd)):
        row[f"{name}_right"] = float(right[rows].mean())
        row[f"{name}_abstains"] = float(silent[rows].mean())
        row[f"{name}_wrong"] = float((1 - right - silent)[rows].mean())
    return row


def of_confidence(own: Trained, threshold: float) -> dict[str, float | str]:
    """Where held-out answers begin, by the confidence before training."""
    odd = np.arange(len(own.base)) % 2 == 1
    confidence = own.base[odd][:, :IDK].max(axis=1)
    answers = 1 - own.after[odd][:, IDK]
    order = np.argsort(confidence)
    met = crossing(confidence[order], answers[order]) if threshold else 0.0
    tenths = np.minimum((confidence * 10).astype(int), 9)
    rates = [answers[tenths == i].mean() for i in range(10) if (tenths == i).any()]
    return {
        "crossing": met,
        "crossing_error": abs(met - threshold),
        "answer_rate": float(answers.mean()),
        "answers_by_tenth": " ".join(f"{x:.3f}" for x in rates) if threshold else "-",
    }


def _right(probabilities: np.ndarray, truth: jax.Array) -> np.ndarray:
    return np.take_along_axis(probabilities, np.asarray(truth)[:, None], axis=1)[:, 0]


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=(0, 1, 2),
    configs=configs,
    run=run,
    plot=plot,
    arm=("arm", "threshold"),
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
