"""DOC."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp

from experiments import sweep
from experiments.e04_noise.arms import FLIP, OTHERS, SWEEPS, TABLE
from experiments.e04_noise.matched import at_matched_kl, gains
from experiments.e04_noise.plot import plot
from experiments.enumlm import (
    Steps,
    World,
    count_preferences,
    evaluate,
    make_world,
    population_preferences,
    train_on_pairs,
)
from experiments.results import Row
from experiments.runner import Experiment, Result, main

LOSSES = TABLE | OTHERS
NUM_PAIRS = 10_000


@dataclass(frozen=True)
class Config:
    """One run of a loss.

    Attributes:
      part: `table` (strength 1, all kinds of pairs) or `sweep` (strengths, one kind).
      arm: The loss.
      strength: What the loss leaves open: β, τ, ...
      flip: How often a label is the wrong way round.
      n_pairs: Pairs for each prompt; 0: all there are.
      world_seed: Of the world.
      data_seed: Of the pairs.
      step: How many updates.
      rate: Of Adam.
    """

    part: str = "table"
    arm: str = "dpo"
    strength: float = 1.0
    flip: float = 0.0
    n_pairs: int = 0
    world_seed: int = 0
    data_seed: int = 0
    step: int = 400
    rate: float = 0.05


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    table = tuple(TABLE)
    arms, seeds = (("dpo", "cdpo"), seeds[:1]) if quick else (tuple(LOSSES), seeds)
    flips = (0.0, FLIP) if quick else (0.0, FLIP, 0.4)
    counts = (NUM_PAIRS,) if quick else (1_000, NUM_PAIRS)
    population = {"step": [500 if quick else 1500], "rate": [0.1]}
    swept = [
        {"part": "sweep", "arm": arm, "strength": x, "data_seed": seed}
        | {"flip": FLIP, "n_pairs": NUM_PAIRS}
        for arm in arms
        for seed in (seeds if arm in TABLE else seeds[:3])
        for x in SWEEPS[arm]
    ]
    return sweep.configs(
        BASE,
        sweep.chain(
            sweep.grid(arm=table, flip=flips, **population),
            sweep.grid(
                arm=("dpo",) if quick else table,
                flip=flips,
                n_pairs=counts,
                data_seed=seeds,
            ),
            swept,
        ),
    )


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        world = make_world(config.world_seed)
        pairs = (
            count_preferences(world, config.n_pairs, config.data_seed, flip=config.flip)
            if config.n_pairs
            else population_preferences(world, flip=config.flip)
        )
        trained = train_on_pairs(
            world,
            jnp.asarray(pairs),
            jnp.float64(config.strength),
            loss=LOSSES[config.arm],
            steps=Steps(config.step, config.rate),
        )
        return Result(row(world, config, trained.logps), [])


def row(world: World, config: Config, logps: jax.Array) -> Row:
    found = evaluate(world, logps, 1.0)
    assert found.efficiency <= 1 + 1e-6, (config, found)
    assert found.kl >= 0, (config, found)
    assert found.rho >= -1e-9, (config, found)
    return {
        "part": config.part,
        "arm": config.arm,
        "strength": config.strength,
        "flip": config.flip,
        "n_pairs": config.n_pairs,
        "world_seed": config.world_seed,
        "data_seed": config.data_seed,
        "step": config.step,
        **{name: float(value) for name, value in found._asdict().items()},
    }


def derive(rows: list[Row]) -> list[Row]:
    """Losses at the same KL, and an identity of two of them on all pairs there are."""
    matched = at_matched_kl(rows)
    return [*matched, *gains(matched), conservative(rows)]


def conservative(rows: list[Row]) -> Row:
    """Compares cDPO on right labels with DPO on labels of which some are not."""
    pick = {"part": "table", "n_pairs": 0}
    wanted = [pick | {"arm": "cdpo", "flip": 0.0}, pick | {"arm": "dpo", "flip": FLIP}]
    one, other = (
        next(row for row in rows if all(row[k] == v for k, v in x.items()))
        for x in wanted
    )
    gaps = {f"{name}_gap": abs(one[name] - other[name]) for name in ("reward", "kl")}
    return {"part": "identity", "arm": "cdpo_minus_dpo_flipped"} | gaps


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=(0, 1, 2, 3, 4),
    configs=configs,
    run=run,
    plot=plot,
    arm=("part", "arm", "strength", "flip", "n_pairs", "kl_wanted"),
    derive=derive,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
