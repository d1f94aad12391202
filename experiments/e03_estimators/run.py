"""KL in the reward regularises exactly whatever the estimator; in the loss it may not.

    python -m experiments.e03_estimators.run --out runs/e03 --check

REINFORCE, RLOO, GRPO, Dr. GRPO, DAPO, REINFORCE++ and PPO with a critic, with the KL
term in the reward; and k1, k2, k3 as a term of the loss, as GRPO has k3
(https://arxiv.org/abs/2402.03300). The policy is a table over all responses to eight
prompts (experiments/enumlm), so the optimum of R − β KL and the distance to it are
exact. 8 prompts × 32 groups × 4 samples a step, 300 steps, three keys, β = 0.5 and 1.

About 15 minutes on two cores that were busy with other work, 8 of them for the
transformer. Expected (expected.json):
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

Arms `transformer_*` are nine of these with the library's decoder (two layers, 43,000
parameters, one for all prompts) in place of the table. It first imitates the table, and
what it says then is the reference by definition; gold rewards are standardised under
it, so that the optimum is exact again (reward and KL differ by 1e-4 from the table's
world). Adam at 0.001, and 0.05 for the critic, a table still; else as above. By the
exact gradient of R − β KL it comes to ρ = 1e-5 in 3000 updates: being a transformer
costs nothing that could be seen. With KL in the reward ρ is at most .0038 (RLOO, Dr.
GRPO), .0014 (PPO) and .0127 (GRPO). The biases in the loss are the table's: k3 of
tokens .18 and .36, k2 of tokens goes too far, k2 of whole responses .011. Without a
force that holds it, k1, the transformer goes further than the table (KL 5.45 and 4.14),
and is worse than no training at β = 0.5 too (ρ 1.17).

What differs: at β = 1 RLOO and GRPO are ten and thirty times as far from the optimum as
with the table (.0003 and .0004), PPO is not. That is 300 updates being too few: after
900, one key, it is .0004 and .0059.
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
from experiments.enumlm import (
    Steps,
    Trained,
    World,
    checked_numbers,
    optimum,
    train_exactly,
)
from experiments.enumlm.learners import POLICIES, Learner, named
from experiments.runner import Experiment, Result, main

BETAS = (0.5, 1.0)
FRONTIER = (
    *(0.02, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5),
    *(0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0),
)
OF_TRANSFORMER = (
    *("rloo", "grpo", "dr_grpo", "ppo"),
    *("rloo_sequence_k2", "rloo_token_k2", "dr_grpo_k3", "grpo_k3", "dr_grpo_k1"),
)
PLANS = {
    "table": Plan(),
    # One key, β = 0.5, 1e-3 and 3e-3: PPO .0006 and .0007, GRPO .0057 and .0068, k2 of
    # whole responses .0089 and .0095, RLOO .0038 and .0027 (.0052 at 5e-4).
    "transformer": Plan(learning_rate=1e-3, critic_rate=0.05),
}
EXACTLY = Steps(3000, 3e-3)
LOG_EVERY = 10


@dataclass(frozen=True)
class Config:
    """One run of an arm. `optimum` is no training but the exact solution.

    `exact_gradient` has no samples: it shows what the policy can reach.
    """

    arm: str = "optimum"
    policy: str = "table"
    beta: float = 1.0
    world_seed: int = 0
    key: int = 0
    num_steps: int = Plan().num_steps


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    arms = ("rloo", "dr_grpo_k1") if quick else tuple(ARMS)
    betas = BETAS[:1] if quick else BETAS
    keys = seeds[:1] if quick else seeds
    runs = sweep.grid(arm=arms, beta=betas, key=keys)
    arms = ("rloo",) if quick else OF_TRANSFORMER
    others = sweep.grid(policy=["transformer"], arm=arms, beta=betas, key=keys)
    exact = {"arm": "exact_gradient", "policy": "transformer"}
    if not quick:
        others += [exact | {"beta": x, "num_steps": EXACTLY.number} for x in betas]
    return sweep.configs(BASE, sweep.chain(sweep.grid(beta=FRONTIER), runs, others))


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        learner = POLICIES[config.policy](config.world_seed)
        if config.arm == "optimum":
            logps = optimum(learner.world, config.beta)
            return Result(row(learner.world, config, logps), [])
        logps, history = trained(learner, config)
        return Result(row(learner.world, config, logps), records(config, history))


def trained(learner: Learner, config: Config) -> tuple[jax.Array, History | Trained]:
    """Log-probabilities `[X, S]` that a run ends with, and how it came there."""
    world, start, table_of = learner
    beta = jnp.float64(config.beta)
    if config.arm == "exact_gradient":
        steps = EXACTLY._replace(number=config.num_steps)
        found = train_exactly(world, beta, steps=steps, start=start, table_of=table_of)
        return found.logps, found
    plan = PLANS[config.policy]._replace(num_steps=config.num_steps)
    key = jax.random.key(config.key)
    return train(world, config.arm, beta, key, plan, start=start, table_of=table_of)


def row(world: World, config: Config, logps: jax.Array) -> dict:
    return {
        "arm": named(config.policy, config.arm),
        "kl_term": place_of_kl(config.arm),
        "beta": config.beta,
        "world_seed": config.world_seed,
        "key": config.key,
        "step": 0 if config.arm == "optimum" else config.num_steps,
        **checked_numbers(world, logps, config.beta),
    }


def records(config: Config, history: History | Trained) -> list[dict]:
    return [
        {
            "arm": named(config.policy, config.arm),
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
