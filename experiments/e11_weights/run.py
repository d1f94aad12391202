"""DOC."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments import sweep
from experiments.e11_weights.plot import plot
from experiments.enumlm import (
    PairLoss,
    Steps,
    World,
    count_preferences,
    frontier_reward,
    make_world,
    train_on_pairs,
)
from experiments.results import Row
from experiments.runner import Experiment, Result, main

LOSSES = {
    "dpo": PairLoss("dpo_loss"),
    "unweighted": PairLoss("unweighted_dpo_loss"),
    "unlikelihood": PairLoss("unlikelihood_loss", "alpha"),
}
NUM_STEPS = 3000


@dataclass(frozen=True)
class Config:
    """One run: `strength` is β, or the weight of the rejected response."""

    arm: str = "dpo"
    strength: float = 1.0
    n_pairs: int = 10_000
    world_seed: int = 0
    data_seed: int = 0
    step: int = NUM_STEPS
    rate: float = 0.05


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    seeds, steps = (seeds[:1], 300) if quick else (seeds, NUM_STEPS)
    arms = [
        *sweep.grid(arm=["dpo", "unweighted"]),
        *sweep.grid(arm=["unlikelihood"], strength=[0.05, 0.1, 0.5, 1.0]),
    ]
    return sweep.configs(
        BASE, [arm | {"data_seed": x, "step": steps} for arm in arms for x in seeds]
    )


def reported(num_steps: int) -> list[int]:
    """Steps that have a row: all at first, then ever fewer."""
    return sorted({round(x) for x in np.geomspace(1, num_steps, 40)})


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        world = make_world(config.world_seed)
        pairs = count_preferences(world, config.n_pairs, config.data_seed)
        trained = train_on_pairs(
            world,
            jnp.asarray(pairs),
            jnp.float64(config.strength),
            loss=LOSSES[config.arm],
            steps=Steps(config.step, config.rate, decay=False),
        )
        rows = [
            row(world, config, step, trained.reward[step - 1], trained.kl[step - 1])
            for step in reported(config.step)
        ]
        return Result(rows[-1], [], rows[:-1])


def row(world: World, config: Config, step: int, reward, kl) -> Row:
    frontier = frontier_reward(world, kl)
    assert kl >= 0, (config, kl)
    assert reward / frontier <= 1 + 1e-6, (config, reward, frontier)
    return {
        "arm": config.arm,
        "strength": config.strength,
        "step": step,
        "n_pairs": config.n_pairs,
        "world_seed": config.world_seed,
        "data_seed": config.data_seed,
        "reward": float(reward),
        "kl": float(kl),
        "frontier_reward": float(frontier),
        "efficiency": float(reward / frontier),
    }


def derive(rows: list[Row]) -> list[Row]:
    """Each run beside DPO on the same pairs: KL at DPO's reward, and where it ends."""
    runs: dict[tuple, list[Row]] = {}
    for x in rows:
        runs.setdefault((x["arm"], x["strength"], x["data_seed"]), []).append(x)
    further = []
    for (arm, strength, seed), mine in runs.items():
        dpo = runs["dpo", 1.0, seed]
        wanted = SHARE_OF_DPO * dpo[-1]["reward"]
        reached = {"best_reward": max(x["reward"] for x in mine) / dpo[-1]["reward"]}
        kl, kl_dpo = kl_at(mine, wanted), kl_at(dpo, wanted)
        if kl is not None and kl_dpo is not None:
            reached["kl_ratio"] = kl / kl_dpo
        before = next(x for x in mine if x["step"] >= mine[-1]["step"] / 3)
        further.append(
            {
                "arm": f"{arm}, whole run",
                "strength": strength,
                "data_seed": seed,
                **reached,
                "kl_growth": mine[-1]["kl"] / before["kl"],
                "kl_end_ratio": mine[-1]["kl"] / dpo[-1]["kl"],
                "reward_end_ratio": mine[-1]["reward"] / dpo[-1]["reward"],
            }
        )
    return further


SHARE_OF_DPO = 0.9
"""The reward at which KL divergences are compared, as a share of DPO's at its end."""


def kl_at(run: list[Row], reward: float) -> float | None:
    """KL where a run first has that reward, between the rows before and after."""
    before = {"reward": 0.0, "kl": 0.0}
    for after in run:
        if after["reward"] >= reward:
            part = (reward - before["reward"]) / (after["reward"] - before["reward"])
            return before["kl"] + part * (after["kl"] - before["kl"])
        before = after
    return None


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=(0, 1, 2),
    configs=configs,
    run=run,
    plot=plot,
    arm=("arm", "strength", "step"),
    derive=derive,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
