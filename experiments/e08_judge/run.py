"""What the biases of a judge, and errors of a verifier, do to who is paid by them.

    python -m experiments.e08_judge.run --out runs/e08 --check

A simulated judge prefers the first of two responses with probability
σ(κ (r - r') + p + q (|y| - |y'|) + noise): position bias p and length bias q, as judges
that are language models have them (Zheng et al., https://arxiv.org/abs/2306.05685). The
reward of a response is the chance that it beats one of the reference, shown first
(`one_order`) or in both orders (`both_orders`); all responses can be listed
(experiments/enumlm), so that what is optimal under that reward is exact, and what it is
worth is measured by the gold reward, which no arm is trained on. `rloo` is trained on
the judge's reward, as a check. `verifier` is paid 1 where the gold reward is above ½,
and that is wrong in a share of 0 to 30 % of samples.

Half a minute on two cores that were busy with other work; keys are one program.
Expected (expected.json), three worlds: a judge that sees nothing but the place moves
the gold reward by less than 0.02 if asked in both orders (measured: by nothing); one
that sees the gold reward too is worth 1.14 in both orders and 0.75 in one, at p = 2. A
taste for length of half a nat a token makes responses longer by 0.8 tokens of 2.7; the
fitted penalty leaves 0.06 of it. RLOO reaches what is exact (regret at most 0.003). A
verifier that errs in 0, 10, 20 and 30 % of samples is one whose β is larger, β / (1 -
2 flip): pass rates 0.96, 0.91, 0.82, 0.68 for the optimum, and 0.95, 0.90, 0.81, 0.68
trained.
"""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments import sweep
from experiments.e03_estimators.train import Plan, train
from experiments.e08_judge.judge import (
    Judge,
    against_reference,
    in_both_orders,
    with_rewards,
    without_length,
)
from experiments.e08_judge.plot import plot
from experiments.enumlm import World, evaluate, expected, make_world, optimum
from experiments.runner import Experiment, Result, main

TRAINED = ("rloo", "verifier_rloo")
JUDGED = ("one_order", "both_orders", "length_penalty")
PASSES = 0.5
"""The gold reward above which the verifier says 1."""


@dataclass(frozen=True)
class Config:
    """One policy. `together` are the keys that are trained as one program."""

    arm: str = "both_orders"
    gold: float = 1.0
    position: float = 0.0
    length: float = 0.0
    flip: float = 0.0
    beta: float = 0.1
    world_seed: int = 0
    key: int = 0
    together: tuple[int, ...] = (0, 1, 2)
    num_steps: int = 300


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    positions, lengths = ((0, 2), (0, 0.5)) if quick else ((0, 1, 2), (0, 0.2, 0.5))
    together = tuple(seeds[:1] if quick else seeds)
    judged = sweep.grid(
        arm=JUDGED,
        gold=[0.0, 1.0],
        position=[float(p) for p in positions],
        length=[float(q) for q in lengths],
        world_seed=together,
    )
    steps = 60 if quick else BASE.num_steps
    same = {"together": together, "num_steps": steps}
    paid = sweep.grid(arm=["rloo"], position=[2.0], length=[0.2], key=together)
    flips = sweep.grid(
        arm=["verifier", "verifier_rloo"],
        flip=[0.0, 0.3] if quick else [0.0, 0.1, 0.2, 0.3],
        beta=[0.25],
        key=together,
    )
    return sweep.configs(BASE, [*judged, *(x | same for x in [*paid, *flips])])


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        world = make_world(config.world_seed)
        paid = paid_by(config, world)
        if config.arm in TRAINED:
            of_keys = _trained(dataclasses.replace(config, key=0))
            logps = of_keys[config.together.index(config.key)]
        else:
            logps = optimum(expected_of(config, paid), config.beta)
        found = row(config, world, paid, logps)
        found["length_error"] = 0.0
        if config.arm in JUDGED:
            fair = dataclasses.replace(config, arm="both_orders", length=0.0)
            aim = optimum(paid_by(fair, world), config.beta)
            aim = row(fair, world, paid, aim)["tokens_more"]
            found["length_error"] = abs(found["tokens_more"] - aim)
        return Result(found, [])


def paid_by(config: Config, world: World) -> World:
    """The world with the reward of an arm in place of the gold reward."""
    if config.arm.startswith("verifier"):
        return with_rewards(world, (world.rewards > PASSES).astype(float))
    judge = Judge(config.gold, config.position, config.length)
    chances = judge.prefers_first(world)
    if config.arm != "one_order":
        chances = in_both_orders(chances)
    rewards = against_reference(world, chances)
    if config.arm == "length_penalty":
        rewards = without_length(world, rewards)
    return with_rewards(world, rewards)


def expected_of(config: Config, paid: World) -> World:
    """With the mean of the reward that flips make of it."""
    return with_rewards(paid, config.flip + (1 - 2 * config.flip) * paid.rewards)


@functools.lru_cache(maxsize=8)
def _trained(config: Config) -> np.ndarray:
    paid = paid_by(config, make_world(config.world_seed))
    keys = jax.vmap(jax.random.key)(jnp.array(config.together))
    plan = Plan(config.num_steps, num_groups=8)
    beta, flip = jnp.float64(config.beta), jnp.float64(config.flip)
    of_keys = jax.vmap(lambda key: train(paid, "rloo", beta, key, plan, flip)[0])
    return np.asarray(of_keys(keys))


def row(config: Config, world: World, paid: World, logps: jax.Array) -> dict:
    found = evaluate(world, logps, config.beta)
    aim = evaluate(expected_of(config, paid), logps, config.beta)
    assert found.reward <= found.frontier_reward + 1e-6, found
    assert found.kl >= -1e-12, found
    lengths = jnp.asarray(np.broadcast_to(world.responses.lengths, logps.shape))
    ref = jnp.asarray(world.ref_logps)
    return {
        "arm": config.arm,
        "gold": config.gold,
        "position": config.position,
        "length": config.length,
        "flip": config.flip,
        "beta": config.beta,
        "world_seed": config.world_seed,
        "key": config.key,
        "reward": float(found.reward),
        "kl": float(found.kl),
        "frontier_reward": float(found.frontier_reward),
        "paid": float(expected(logps, paid.rewards)),
        "paid_before": float(expected(ref, paid.rewards)),
        "tokens_more": float(expected(logps, lengths) - expected(ref, lengths)),
        # Where the judge sees nothing there is nothing to gain, and no share of it.
        "rho_paid": float(aim.rho) if config.arm in TRAINED else 0.0,
    }


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=(0, 1, 2),
    configs=configs,
    run=run,
    plot=plot,
    arm=("arm", "gold", "position", "length", "flip"),
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
