"""DOC."""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from experiments import sweep
from experiments.e01_frontier.arms import Config, policy
from experiments.e01_frontier.plot import plot
from experiments.e03_estimators.run import FRONTIER
from experiments.enumlm import World, evaluate, make_world
from experiments.results import Row
from experiments.runner import Experiment, Result, main

BETAS = (0.25, 0.5, 1.0, 2.0)
NUM_PAIRS = (100, 1_000, 10_000, 100_000)
ALPHAS = (0.05, 0.1, 0.5, 1.0)
BEST_OF = tuple(2**k for k in range(1, 13))

BASE = Config()


def configs(seeds: Sequence[int], quick: bool) -> list[Config]:
    if quick:
        return _quick(seeds[:1])
    population = {"arm": ["dpo_population"], "step": [3000], "rate": [0.1]}
    on_pairs = {"step": [400], "rate": [0.05], "data_seed": seeds}
    learned = {"arm": ["learned_linear", "learned_tabular"], "n_pairs": NUM_PAIRS}
    by_rl = sweep.zipped(arm=["rloo", "grpo", "ppo"], step=[300] * 3)
    keys = sweep.zipped(key=seeds, data_seed=seeds)
    return sweep.configs(
        BASE,
        sweep.chain(
            sweep.grid(beta=FRONTIER),
            sweep.grid(arm=["best_of_n"], n=BEST_OF),
            sweep.grid(**population, beta=BETAS),
            sweep.grid(arm=["dpo"], n_pairs=NUM_PAIRS, beta=BETAS, **on_pairs),
            sweep.grid(**learned, beta=BETAS, data_seed=seeds),
            sweep.grid(
                arm=["unlikelihood"], n_pairs=[10_000], alpha=ALPHAS, **on_pairs
            ),
            sweep.grid(arm=["preferred_ft"], n_pairs=[10_000], **on_pairs),
            [
                settings | {"beta": beta} | seed
                for settings in by_rl
                for beta in BETAS
                for seed in keys
            ],
            [
                {"arm": "ppo_learned_linear", "n_pairs": 10_000, "step": 300}
                | {"beta": beta}
                | seed
                for beta in BETAS
                for seed in keys
            ],
        ),
    )


def _quick(seeds: Sequence[int]) -> list[Config]:
    return sweep.configs(
        BASE,
        sweep.chain(
            sweep.grid(beta=FRONTIER[::3]),
            sweep.grid(arm=["best_of_n"], n=BEST_OF[::4]),
            sweep.grid(arm=["dpo_population"], beta=[1.0], step=[500], rate=[0.1]),
            sweep.grid(
                arm=["dpo"],
                n_pairs=[100, 10_000],
                beta=[1.0],
                data_seed=seeds,
                step=[400],
                rate=[0.05],
            ),
            sweep.grid(
                arm=["learned_linear"], n_pairs=[100], beta=[1.0], data_seed=seeds
            ),
            sweep.grid(arm=["rloo"], beta=[1.0], key=seeds, step=[300]),
        ),
    )


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        world = make_world(config.world_seed)
        return Result(row(world, config, policy(world, config)), [])


def row(world: World, config: Config, logps: jax.Array) -> Row:
    found = evaluate(world, logps, config.beta or 1.0)
    assert found.efficiency <= 1 + 1e-6, (config, found)
    assert found.kl >= 0, (config, found)
    assert found.rho >= -1e-9, (config, found)
    numbers = {name: float(value) for name, value in found._asdict().items()}
    if not config.beta:
        del numbers["rho"]  # there is no β for which it would be the regret
    settings = ("beta", "n_pairs", "alpha", "n")
    return {
        "arm": config.arm,
        **{name: x for name in settings if (x := getattr(config, name))},
        "world_seed": config.world_seed,
        "data_seed": config.data_seed,
        "key": config.key,
        "step": config.step,
        **numbers,
    }


def derive(rows: list[Row]) -> list[Row]:
    """By how much arms differ on the same pairs, or seed by seed."""
    compared = [
        ("learned_linear", "dpo"),
        ("learned_tabular", "dpo"),
        ("ppo_learned_linear", "learned_linear"),
    ]
    further = []
    for arm, other in compared:
        for mine in (row for row in rows if row["arm"] == arm):
            same = ("n_pairs", "beta", "data_seed")
            for theirs in rows:
                if theirs["arm"] == other and all(theirs[x] == mine[x] for x in same):
                    further.append(
                        {"arm": f"{arm}_minus_{other}"}
                        | {name: mine[name] for name in same}
                        | {
                            f"{name}_gain": mine[name] - theirs[name]
                            for name in ("efficiency", "rho")
                        }
                    )
    return further


EXPERIMENT = Experiment(
    description=__doc__ or "",
    folder=Path(__file__).parent,
    seeds=(0, 1, 2),
    configs=configs,
    run=run,
    plot=plot,
    arm=("arm", "beta", "n_pairs", "alpha", "n"),
    derive=derive,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
