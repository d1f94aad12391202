"""Optimising a proxy raises the gold reward, then lowers it; more data ends that.

    python -m experiments.e06_overoptimisation.run --out runs/e06 --check

Gao, Schulman & Hilton, https://arxiv.org/abs/2210.10760. The policy sees a proxy that
was fitted to N pairs; what is measured is the gold reward that labelled them. All
responses to two prompts are listed (1093, experiments/enumlm), so that the optimum
π_ref exp(proxy / β) for sixty β and the law of the best of n for n up to 2^15 are
exact; PPO is trained on the proxy as well. Each case is a prompt of a world, 64 for the
linear model and exact policies, 16 for the other arms, 6 for PPO.
Proxies: a linear Bradley–Terry model of N = 30 to 10,000 pairs; ensembles of five of
them on resamples of the same pairs (mean, minimum, mean − 0.1 variance;
https://arxiv.org/abs/2310.02743); the implicit reward of DPO.

Three minutes on two cores that were busy with other work. Expected (expected.json):
with 100 pairs the gold reward falls by 0.2 or more from its peak (measured: 0.44 ±
0.07; best of n 0.61, PPO 0.45), with 10,000 by 0.1 at most (0.081 ± 0.033), and the
proxy rises all along. What is left with 10,000 pairs is no lack of data: with 100,000
it is 0.083. A mean of peaks is above 0 by its making; the mean curve has no fall there
at all, and from β = 0.2, which was fixed before, it falls by 0.17 with 100 pairs and
rises by 0.34 with 10,000. Ensembles of resamples of the same pairs end no higher than
one model does.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from experiments import sweep
from experiments.e06_overoptimisation.curves import curve, summary, text
from experiments.e06_overoptimisation.plot import plot
from experiments.e06_overoptimisation.proxies import JOINED, proxy_of
from experiments.enumlm import World, make_world
from experiments.runner import Experiment, Result, main

PAIRS = (30, 100, 1000, 10_000)


@dataclass(frozen=True)
class Config:
    """One proxy in one world, and who optimises it."""

    proxy: str = "single"
    optimiser: str = "exact"
    noise: float = 1.0
    n_pairs: int = 100
    world_seed: int = 0
    data_seed: int = 0
    key: int = 0


BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    seeds = seeds[:2] if quick else seeds
    pairs = PAIRS[1:3] if quick else PAIRS
    free = sweep.grid(optimiser=["exact", "best_of_n"], n_pairs=pairs)
    noises = (1.0,) if quick else (1.0, 0.5)
    arms = [a | {"noise": noise} for noise in noises for a in free]
    arms += sweep.grid(proxy=list(JOINED), n_pairs=pairs[:3])
    if not quick:
        arms += sweep.grid(proxy=["dpo"], n_pairs=pairs[1:])
        arms += [{"optimiser": "ppo"}]
    runs = [a | {"world_seed": s, "data_seed": s} for a in arms for s in seeds]
    return [x for x in sweep.configs(BASE, runs) if x.world_seed in seeds[: worlds(x)]]


def worlds(config: Config) -> int:
    """In how many worlds an arm is run: many where its mean is held against a bar."""
    if config.optimiser == "ppo":
        return 3
    plain = BASE.proxy, BASE.optimiser, BASE.noise
    return 32 if (config.proxy, config.optimiser, config.noise) == plain else 8


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        world = _world(config.world_seed, config.noise)
        data = config.noise, config.n_pairs, config.data_seed
        proxy = _proxy(config.proxy, config.world_seed, *data)
        found = curve(config.optimiser, world, proxy, config.key)
        numbers = summary(config.optimiser, found)
        assert (found.kl >= -1e-12).all(), found.kl
        single = numbers["gold_end"]
        if config.proxy != "single":
            plain = _proxy("single", config.world_seed, *data)
            rival = curve(config.optimiser, world, plain, config.key)
            single = float(rival.gold[-1].mean())
    row = {
        "proxy": config.proxy,
        "optimiser": config.optimiser,
        "noise": config.noise,
        "n_pairs": config.n_pairs,
        "world_seed": config.world_seed,
        "data_seed": config.data_seed,
        "key": config.key,
        **{name: float(value) for name, value in numbers.items()},
        "gold_end_minus_single": float(numbers["gold_end"] - single),
        **{f"{name}_curve": text(x) for name, x in found._asdict().items()},
    }
    return Result(row, [])


@functools.lru_cache(maxsize=64)
def _world(seed: int, noise: float) -> World:
    return make_world(seed, num_symbols=3, max_length=6, num_prompts=2, noise=noise)


@functools.lru_cache(maxsize=256)
def _proxy(
    kind: str, world_seed: int, noise: float, n_pairs: int, data_seed: int
) -> np.ndarray:
    return proxy_of(kind, _world(world_seed, noise), n_pairs, data_seed)


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=tuple(range(32)),
    configs=configs,
    run=run,
    plot=plot,
    arm=("proxy", "optimiser", "noise", "n_pairs"),
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
