"""Learning from an older or coarser sampler: weights, and the drift of the mean score.

    python -m experiments.e13_off_policy.run --out runs/e13 --check

RLOO with the KL term in the reward learns from responses that a policy of 1 to 8
updates ago sampled (Adam, 0.3, so that they are far), or one whose logits are rounded
to multiples of 2: a sampler that is quantised, coarsely. Tokens have no weights,
truncated ones (π/μ up to 2; https://doi.org/10.1198/106186008X320456), or masked ones
(0 outside of ½ to 5; https://arxiv.org/abs/2510.18855). Each arm runs again with the
mean score taken out (`_centred`; centring.py says what that is, and tests prove it from
exact gradients), and with a constant 2 added to all advantages, which on policy adds
noise and no bias. All responses can be listed (experiments/enumlm): what is measured is
the exact normalised regret of R − β KL, β = 0.5 (0: optimal, 1: the reference).

Two minutes on two cores that were busy with other work; runs of an arm are one program.
Expected (expected.json), three keys: with advantages of mean 0 nothing is lost by any
sampler (regret 0.014 at most, means of keys), but with masked weights, which drift
(0.027 after 8 updates, centred 0.008). With 2 added, unweighted samples of the rounded
policy end at 0.52 and masked ones of 8 updates ago at 0.54; centred at 0.070 and 0.063,
no worse than on policy (0.080).
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
from experiments.e13_off_policy.centring import ARMS
from experiments.e13_off_policy.plot import plot
from experiments.e13_off_policy.train import Plan, train
from experiments.enumlm import checked_numbers, make_world, response_logps
from experiments.runner import Experiment, Result, main

SAMPLERS = {
    "now": (0, 0.0),
    "1_ago": (1, 0.0),
    "2_ago": (2, 0.0),
    "4_ago": (4, 0.0),
    "8_ago": (8, 0.0),
    "rounded": (0, 2.0),
}
"""Updates by which each is older, and the grid of its logits."""
OFFSETS = (0.0, 2.0)


@dataclass(frozen=True)
class Config:
    """One run. Those of an arm differ in traced values only: they are one program."""

    arm: str = "none"
    sampler: str = "now"
    offset: float = 0.0
    key: int = 0
    together: tuple[int, ...] = (0, 1, 2)
    samplers: tuple[str, ...] = tuple(SAMPLERS)
    beta: float = 0.5
    num_steps: int = 300


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    together = tuple(seeds[:1] if quick else seeds)
    samplers = ("now", "8_ago") if quick else tuple(SAMPLERS)
    same = {"together": together, "samplers": samplers}
    if quick:
        same["num_steps"] = 60
    runs = sweep.grid(arm=list(ARMS), sampler=samplers, offset=OFFSETS, key=together)
    return sweep.configs(BASE, [x | same for x in runs])


def run(config: Config) -> Result:
    program = dataclasses.replace(config, sampler="now", offset=0.0, key=0)
    logits = _trained(program)[_points(config).index(_point(config))]
    with jax.enable_x64(True):
        world = make_world(0)
        logps = response_logps(jnp.asarray(logits), world.responses)
        found = checked_numbers(world, logps, config.beta)
    row = {
        "arm": config.arm,
        "sampler": config.sampler,
        "offset": config.offset,
        "beta": config.beta,
        "key": config.key,
        **found,
    }
    return Result(row, [])


def _point(config: Config) -> tuple[str, float, int]:
    return config.sampler, config.offset, config.key


def _points(config: Config) -> list[tuple[str, float, int]]:
    return [
        (name, offset, key)
        for name in config.samplers
        for offset in OFFSETS
        for key in config.together
    ]


@functools.lru_cache(maxsize=8)
def _trained(config: Config) -> np.ndarray:
    """Logits `[points, X, P, V]`."""
    points = _points(config)
    lag, grid = zip(*(SAMPLERS[name] for name, _, _ in points), strict=True)
    with jax.enable_x64(True):
        keys = jax.vmap(jax.random.key)(jnp.array([key for _, _, key in points]))
        offsets = jnp.array([offset for _, offset, _ in points])
        over = jax.vmap(train, (None, None, 0, 0, None, 0, 0, None))
        found = over(
            make_world(0),
            config.arm,
            jnp.array(lag),
            jnp.array(grid),
            jnp.float64(config.beta),
            offsets,
            keys,
            Plan(config.num_steps),
        )
        return np.asarray(found.policy)


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=(0, 1, 2),
    configs=configs,
    run=run,
    plot=plot,
    arm=("arm", "sampler", "offset"),
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
