"""Preference losses and RL with a KL term are drawn to one frontier of reward and KL.

    python -m experiments.run e01 --check

Fig. 2 (left) of https://arxiv.org/abs/2305.18290 in small, where the frontier is known
(experiments/enumlm, 8 prompts, policies are tables): DPO on all pairs there are and on
10² to 10⁵ pairs for each prompt; RLOO, GRPO and PPO of E3 on the gold reward; the exact
optimum for a Bradley–Terry reward that was learned from DPO's pairs, linear in n-gram
counts or a free table, with a standard normal prior on its weights, and PPO on the
linear one; unlikelihood, preferred-FT, and the exact law of best-of-n by the gold
reward. β = 0.25, 0.5, 1 and 2; three seeds of pairs or samples. SFT before all of this
is the reference, at 0.

Arms `transformer_*` are DPO with the library's decoder in place of the table, which is
its own reference, as in E3: all pairs (2000 updates at 0.003) and the same numbers of
pairs (400 at 0.001, the rate of E3).

Ten minutes on two cores that were busy with other work. Expected (expected.json): on
all pairs DPO ends on the optimum (normalised regret ρ < 1e-3 for β of 0.5 and more;
measured 1e-15); with 10⁵ pairs it has 0.98 of the reward possible at its KL and ρ <
0.05 (0.994 and 0.018, the worst of three seeds), and each ten times fewer pairs cost
some of it; with 100 it is worse than no training (ρ 1.1, 2.5 and 5.1 for β = 0.5, 1
and 2). RL on the gold reward is on the frontier (efficiency 0.994 and more, ρ at most
0.0033 for β = 0.5 and 1).

The paper finds DPO strictly above PPO even with the gold reward. That does not hold
here: RL with exact scores and enough samples leaves nothing to be above, while DPO pays
for the noise of its labels. Nor is DPO the best use of few pairs: the optimum for a
learned table of rewards, as free as the policy, has more of the reward possible at its
KL at every number of pairs (by 0.20, 0.08, 0.03 and 0.008), for it has a prior and DPO
has none. Linear rewards win by more with few pairs and lose by 0.005 with 10⁵, where
DPO learns what is not linear in the gold reward. KL differs between these arms at equal
β. Unlikelihood (α = 1) has 0.61 of the reward possible at its KL, and with small α it
is preferred-FT (0.93), which hardly moves.

A transformer reaches the optimum from all pairs too (ρ 1e-4 at β = 0.25, 4e-5 and less
from 0.5 on). With 10⁵ pairs it is as good as the table (efficiency 0.986 and more, ρ
0.027 at most, for β of 0.5 and more). With 100 it goes further astray at equal updates,
ρ 1.7, 4.3 and 10.8 for β = 0.5, 1 and 2, and at 0.25 it is no better than no training
either. Sharing its parameters it gains where signal is weak and pairs are many: at β =
2 and 10⁴ pairs 0.975 of the reward possible, where the table has 0.924, and loses 0.03
there at β = 0.5. KL differs in these comparisons, and rates were not sought for each.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from experiments import sweep
from experiments.e01_frontier.arms import Config, policy
from experiments.e01_frontier.plot import plot
from experiments.e03_estimators.run import FRONTIER
from experiments.enumlm import World, checked_numbers
from experiments.enumlm.learners import POLICIES, named
from experiments.results import Row
from experiments.runner import Experiment, Result, main

BETAS = (0.25, 0.5, 1.0, 2.0)
NUM_PAIRS = (100, 1_000, 10_000, 100_000)
ALPHAS = (0.05, 0.1, 0.5, 1.0)
BEST_OF = tuple(2**k for k in range(1, 13))

TRANSFORMER = {"policy": ["transformer"], "step": [400], "rate": [1e-3]}
EXACTLY = {"step": [2000], "rate": [3e-3]}

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
            sweep.grid(**population | TRANSFORMER | EXACTLY, beta=BETAS),
            sweep.grid(
                **{"arm": ["dpo"], **on_pairs, **TRANSFORMER},
                n_pairs=NUM_PAIRS,
                beta=BETAS,
            ),
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
            sweep.grid(arm=["dpo"], n_pairs=[10_000], beta=[1.0], **TRANSFORMER),
        ),
    )


def run(config: Config) -> Result:
    with jax.enable_x64(True):
        learner = POLICIES[config.policy](config.world_seed)
        logps, records = policy(learner, config)
        return Result(row(learner.world, config, logps), records)


def row(world: World, config: Config, logps: jax.Array) -> Row:
    numbers = checked_numbers(world, logps, config.beta or 1.0)
    if not config.beta:
        del numbers["rho"]  # there is no β for which it would be the regret
    settings = ("beta", "n_pairs", "alpha", "n")
    return {
        "arm": named(config.policy, config.arm),
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
        ("transformer_dpo", "dpo"),
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
