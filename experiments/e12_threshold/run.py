"""Told what a wrong answer costs, a policy answers where it is right often enough.

    python -m experiments.e12_threshold.run --out runs/e12 --check

Under the reward `confidence_target(t)` (right 1, "I don't know" 0, wrong −t / (1 − t);
https://arxiv.org/abs/2509.04664) answering pays where P(right) > t, and nowhere else.
Under `brier` (https://arxiv.org/abs/2507.16806) it pays to state the confidence
q = P(right). Sixty questions whose truth is drawn anew each time: the best of three
candidates is right with a probability from 0.01 to 0.99. The rewards are those of
`jaxalign.rewards`, read from texts. The `exact` arms take the best action of each
question; `trained` ones learn a table of logits from sampled completions alone, by
REINFORCE with a leave-one-out baseline from groups of 32. `rloo_4` has groups of four;
`grpo_4` and `grpo_32` divide advantages by the deviation within the group, as GRPO
does: one answer among silent samples then weighs as much when it is wrong as when it is
right, whatever being wrong costs, so that the threshold goes to one half.

Thirteen minutes on two cores that were busy with other work. Expected (expected.json):
exact policies cross an answer rate of one half within 0.05 of t for seven t (measured:
at most 0.0014), and state P(right) to 0.01 (brier 0.005, half a step of the grid; log
score 0.01, where it is clipped). Trained ones cross within 0.1 (0.017), and state
P(right) to 0.1 on average (0.077 and 0.094); single questions are off by more (0.27 and
0.46). Groups of four keep the threshold with leave-one-out (0.084 at most); divided by
their deviation they answer above 0.32 to 0.52 where t is 0.1 and above 0.58 to 0.6
where it is 0.9. In groups of 32 the same is off by 0.07.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments import sweep
from experiments.e12_threshold.plot import plot
from experiments.e12_threshold.train import ARMS, train
from experiments.e12_threshold.world import (
    Actions,
    World,
    answers_or_abstains,
    states_confidence,
)
from experiments.runner import Experiment, Result, main

THRESHOLDS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9)


@dataclass(frozen=True)
class Config:
    """One run of an arm; `threshold` is 0 where the reward has none."""

    arm: str = "exact"
    reward: str = "confidence_target"
    threshold: float = 0.0
    key: int = 0
    num_steps: int = 3000


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    thresholds = THRESHOLDS[::3] if quick else THRESHOLDS
    keys, steps = (seeds[:1], 300) if quick else (seeds, BASE.num_steps)
    exact = sweep.chain(
        sweep.grid(threshold=thresholds), sweep.grid(reward=["brier", "log_score"])
    )
    arms = ["trained", "grpo_4"] if quick else list(ARMS)
    trained = sweep.chain(
        sweep.grid(arm=arms, threshold=thresholds, key=keys, num_steps=[steps]),
        sweep.grid(
            arm=["trained"], reward=["brier", "log_score"], key=keys, num_steps=[steps]
        ),
    )
    return sweep.configs(BASE, sweep.chain(exact, trained))


def run(config: Config) -> Result:
    world = World.make()
    if config.reward == "confidence_target":
        actions = answers_or_abstains(config.threshold)
    else:
        levels = 101 if config.arm == "exact" else 21
        actions = states_confidence(config.reward, levels)
    values = actions.expected(world)
    if config.arm == "exact":
        policy = np.eye(values.shape[1])[values.argmax(axis=1)]
    else:
        policy = train(world, actions, config.key, config.num_steps, config.arm)
    return Result(row(config, world, actions, policy), [])


def row(
    config: Config, world: World, actions: Actions, policy: np.ndarray
) -> dict[str, Any]:
    """What the policy `[Q, A]` does: where it answers, and what it states."""
    p = world.best
    answers = policy[:, ~actions.abstains].sum(axis=1)
    stated = policy @ actions.confidence
    told = config.reward != "confidence_target"
    best = actions.expected(world).max(axis=1)
    got = (policy * actions.expected(world)).sum(axis=1)
    return {
        "arm": config.arm,
        "reward": config.reward,
        "threshold": config.threshold,
        "key": config.key,
        "crossing": 0.0 if told else crossing(p, answers),
        "crossing_error": 0.0 if told else abs(crossing(p, answers) - config.threshold),
        "answer_rate": float(answers.mean()),
        "confidence_error_max": float(np.abs(stated - p).max()) if told else 0.0,
        "confidence_error_mean": float(np.abs(stated - p).mean()) if told else 0.0,
        "regret": float((best - got).mean()),
    }


def crossing(p: np.ndarray, answers: np.ndarray) -> float:
    """Where the answer rate crosses one half: the cut that fewest questions defy."""
    edges = np.concatenate([[0.0], (p[1:] + p[:-1]) / 2, [1.0]])
    wrong = [np.sum((answers > 0.5) != (p > edge)) for edge in edges]
    return float(np.mean(edges[np.flatnonzero(wrong == np.min(wrong))]))


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=(0, 1, 2),
    configs=configs,
    run=run,
    plot=plot,
    arm=("arm", "reward", "threshold"),
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
