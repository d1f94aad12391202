"""KL in the reward regularises exactly whatever the estimator; in the loss it may not.

    python -m experiments.e03_estimators.run --out runs/e03 --check

REINFORCE, RLOO, GRPO, Dr. GRPO, DAPO, REINFORCE++ and PPO with a critic, with the KL
term in the reward; and k1, k2, k3 as a term of the loss, as GRPO has k3
(https://arxiv.org/abs/2402.03300). The policy is a table over all responses to eight
prompts (experiments/enumlm), so the optimum of R − β KL and the distance to it are
exact. 8 prompts × 32 groups × 4 samples a step, 300 steps, three keys, β = 0.5 and 1.

About 7 minutes on two cores that were busy with other work. Expected (expected.json):
with KL in the reward the normalised regret ρ is below 0.02 for every estimator
(measured: at most 0.0071 at β = 0.5). As terms of the loss, k2 of whole responses and
the score form are as good (0.0053), for they are one gradient; k1 does not regularise
at all (KL 4.14 where 1.78 is right; at β = 1 worse than no training, ρ = 4.0); k3 of
each token, which is GRPO's, has ρ above 0.1, and k2 of each token goes too far, since
both forget what a token does to the states behind it.

What GRPO adds: its advantages are divided by the group's standard deviation, and both
GRPO's and Dr. GRPO's baseline includes the response itself, which shrinks the policy
term to 3/4 at K = 4. With KL in the reward the one weighs groups and the other shortens
the step, and neither moves the optimum much; with KL in the loss they change β: by 4/3
for Dr. GRPO. The `rloo_*` arms are free of both.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments import sweep
from experiments.e03_estimators.arms import ARMS, place_of_kl
from experiments.e03_estimators.plot import plot
from experiments.e03_estimators.train import History, Plan, train
from experiments.enumlm import World, checked_numbers, make_world, optimum
from experiments.runner import Experiment, Result, main

BETAS = (0.5, 1.0)
FRONTIER = (
    *(0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0),
)
LOG_EVERY = 10


@dataclass(frozen=True)
class Config:
    """One run of an arm. `optimum` is no training but the exact solution."""

    arm: str = "optimum"
    beta: float = 1.0
    world_seed: int = 0
    key: int = 0
    num_steps: int = 300


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    arms = ("rloo", "dr_grpo_k1") if quick else tuple(ARMS)
    betas = BETAS[:1] if quick else BETAS
    runs = sweep.grid(arm=arms, beta=betas, key=seeds[:1] if quick else seeds)
    return sweep.configs(BASE, sweep.chain(sweep.grid(beta=FRONTIER), runs))


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        world = make_world(config.world_seed)
        if config.arm == "optimum":
            return Result(row(world, config, optimum(world, config.beta)), [])
        beta, plan = jnp.float64(config.beta), Plan(config.num_steps)
        key = jax.random.key(config.key)
        logps, history = train(world, config.arm, beta, key, plan)
        return Result(row(world, config, logps), records(config, history))


def row(world: World, config: Config, logps: jax.Array) -> dict:
    return {
        "arm": config.arm,
        "kl_term": place_of_kl(config.arm),
        "beta": config.beta,
        "world_seed": config.world_seed,
        "key": config.key,
        "step": 0 if config.arm == "optimum" else config.num_steps,
        **checked_numbers(world, logps, config.beta),
    }


def records(config: Config, history: History) -> list[dict]:
    return [
        {
            "arm": config.arm,
            "beta": config.beta,
            "key": config.key,
            "step": step,
            "reward": float(history.reward[step - 1]),
            "kl": float(history.kl[step - 1]),
        }
        for step in range(LOG_EVERY, config.num_steps + 1, LOG_EVERY)
    ]


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=(0, 1, 2),
    configs=configs,
    run=run,
    plot=plot,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
