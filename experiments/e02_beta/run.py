"""DOC."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments import sweep
from experiments.e02_beta.plot import plot
from experiments.enumlm import (
    PairLoss,
    Steps,
    World,
    count_preferences,
    evaluate,
    expected,
    kl_divergence,
    make_world,
    optimum,
    population_preferences,
    train_on_pairs,
)
from experiments.results import Row
from experiments.runner import Experiment, Result, main

NAMED = (0.5, 1.0, 2.0)
BETAS = tuple(sorted({*NAMED, *np.geomspace(0.1, 4, 12).round(4).tolist()}))
NUM_PAIRS = 100_000
STEP_OF_SLOPE = 1e-3


@dataclass(frozen=True)
class Config:
    """One run of an arm: `exact` needs no training, `population` no sampled pairs."""

    arm: str = "exact"
    beta: float = 1.0
    n_pairs: int = 0
    world_seed: int = 0
    data_seed: int = 0
    step: int = 0
    rate: float = 0.0


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    betas, seeds = (NAMED, seeds[:1]) if quick else (BETAS, seeds)
    population = {"arm": ["population"], "step": [500 if quick else 3000]}
    on_pairs = {"arm": ["dpo"], "n_pairs": [NUM_PAIRS], "step": [1500], "rate": [0.05]}
    return sweep.configs(
        BASE,
        sweep.chain(
            sweep.grid(beta=betas),
            sweep.grid(**population, rate=[0.1], beta=betas),
            sweep.grid(**on_pairs, beta=betas, data_seed=seeds),
        ),
    )


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        world = make_world(config.world_seed)
        if config.arm == "exact":
            slope = {"slope_error": slope_of(world, config.beta) / config.beta - 1}
            return Result(row(world, config, optimum(world, config.beta)) | slope, [])
        pairs = (
            count_preferences(world, config.n_pairs, config.data_seed)
            if config.n_pairs
            else population_preferences(world)
        )
        trained = train_on_pairs(
            world,
            jnp.asarray(pairs),
            jnp.float64(config.beta),
            loss=PairLoss("dpo_loss"),
            steps=Steps(config.step, config.rate),
        )
        return Result(row(world, config, trained.logps), [])


def slope_of(world: World, beta: float) -> float:
    """dR/dKL of the frontier at β, by a central difference."""
    ends = [optimum(world, beta * np.exp(h)) for h in (-STEP_OF_SLOPE, STEP_OF_SLOPE)]
    reward = [expected(logps, world.rewards) for logps in ends]
    kl = [kl_divergence(logps, world.ref_logps) for logps in ends]
    return float((reward[1] - reward[0]) / (kl[1] - kl[0]))


def row(world: World, config: Config, logps: jax.Array) -> Row:
    found = evaluate(world, logps, config.beta)
    assert found.efficiency <= 1 + 1e-6, (config, found)
    assert found.kl >= 0, (config, found)
    assert found.rho >= -1e-9, (config, found)
    best = kl_divergence(optimum(world, config.beta), world.ref_logps)
    return {
        "arm": config.arm,
        "beta": config.beta,
        "n_pairs": config.n_pairs,
        "world_seed": config.world_seed,
        "data_seed": config.data_seed,
        "step": config.step,
        **{name: float(value) for name, value in found._asdict().items()},
        "kl_error": float(found.kl / best - 1),
    }


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
