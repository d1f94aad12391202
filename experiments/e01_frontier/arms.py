"""The arms: from a config to the policy that it ends with.

Configs go one by one: RLOO on twelve of them takes as long under `vmap` (2.7 s for 100
updates, and 3 s more to compile), DPO twice as long (experiments/enumlm/training.py).
"""

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from experiments.e01_frontier.reward import (
    fit_rewards,
    linear_features,
    tabular_features,
)
from experiments.e03_estimators.train import History, Plan, train
from experiments.enumlm import (
    PairLoss,
    Steps,
    World,
    best_of_n_logps,
    count_preferences,
    logged,
    make_world,
    optimum,
    preferences_of,
    train_on_pairs,
)
from experiments.enumlm.learners import Learner

PAIR_LOSSES = {
    "dpo_population": PairLoss("dpo_loss"),
    "dpo": PairLoss("dpo_loss"),
    "unlikelihood": PairLoss("unlikelihood_loss", "alpha"),
    "preferred_ft": PairLoss("preferred_ft_loss", ""),
}
LEARNED = {"learned_linear": linear_features, "learned_tabular": tabular_features}
RL = {"rloo": "rloo", "grpo": "grpo", "ppo": "ppo", "ppo_learned_linear": "ppo"}
"""Arms of E3, with the KL term in the reward."""


@dataclass(frozen=True)
class Config:
    """One run of an arm; what an arm does not have is 0.

    Attributes:
      arm: `optimum` is the exact solution for the gold reward.
      policy: Table or transformer; the latter for DPO.
      beta: Weight of the KL term.
      n_pairs: Pairs for each prompt.
      alpha: Weight of the rejected response in unlikelihood.
      n: Of best-of-n.
      world_seed: Of the world.
      data_seed: Of the pairs.
      key: Of the samples of RL.
      step: How many updates.
      rate: Of Adam.
    """

    arm: str = "optimum"
    policy: str = "table"
    beta: float = 0.0
    n_pairs: int = 0
    alpha: float = 0.0
    n: int = 0
    world_seed: int = 0
    data_seed: int = 0
    key: int = 0
    step: int = 0
    rate: float = 0.0


def policy(learner: Learner, config: Config) -> tuple[jax.Array, list[dict]]:
    """Log-probabilities `[X, S]` that an arm ends with, and how it came there."""
    world, start, table_of = learner
    if config.arm == "optimum":
        return optimum(world, config.beta), []
    if config.arm == "best_of_n":
        ref_logps = jnp.asarray(world.ref_logps)
        return best_of_n_logps(ref_logps, world.rewards, config.n), []
    if config.arm in LEARNED:
        known = with_learned_reward(world, config, config.arm)
        return optimum(known, config.beta), []
    run = dataclasses.asdict(config)
    if config.arm in RL:
        logps, history = _by_rl(world, config)
        return logps, logged(history.reward, history.kl, **run)
    trained = train_on_pairs(
        world,
        jnp.asarray(preferences_of(world, config.n_pairs, config.data_seed)),
        jnp.float64(config.beta or config.alpha),
        loss=PAIR_LOSSES[config.arm],
        steps=Steps(config.step, config.rate),
        start=start,
        table_of=table_of,
    )
    return trained.logps, logged(trained.reward, trained.kl, **run)


def with_learned_reward(world: World, config: Config, kind: str) -> World:
    """The same world with a reward that was learned from the pairs."""
    rewards = learned(kind, config.world_seed, config.n_pairs, config.data_seed)
    return dataclasses.replace(world, rewards=rewards)


@functools.lru_cache(maxsize=64)  # the same for every β
def learned(kind: str, world_seed: int, n_pairs: int, data_seed: int) -> np.ndarray:
    """Rewards `[X, S]` from pairs, with a standard normal prior on the weights."""
    world = make_world(world_seed)
    features = jnp.asarray(LEARNED[kind](world))
    pairs = count_preferences(world, n_pairs, data_seed)
    return np.asarray(fit_rewards(features, jnp.asarray(pairs), 0.5 / n_pairs))


def _by_rl(world: World, config: Config) -> tuple[jax.Array, History]:
    """On a learned reward the history is of that reward."""
    if config.n_pairs:
        world = with_learned_reward(world, config, "learned_linear")
    beta, key = jnp.float64(config.beta), jax.random.key(config.key)
    return train(world, RL[config.arm], beta, key, Plan(config.step))
