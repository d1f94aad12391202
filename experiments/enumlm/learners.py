"""What is to be trained: a table or a transformer, each in the world it begins in.

The reference of a world is the policy itself before training. So arms that differ in
this only are measured alike: the optimum, the frontier and KL are exact for both.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.enumlm.policy import tabular
from experiments.enumlm.transformer import (
    SharedPolicy,
    fit_to_reference,
    with_reference,
)
from experiments.enumlm.world import World, make_world

SHARED = SharedPolicy(num_prompts=8)
FIT_STEPS = 600


class Learner(NamedTuple):
    """A policy before its training.

    Attributes:
      world: Its reference is this policy.
      start: The policy's parameters.
      table_of: From parameters to the table of logits, `[X, P, V]`.
    """

    world: World
    start: Any
    table_of: Callable[[Any], jax.Array]


def table(world_seed: int) -> Learner:
    """The table that the world is drawn with. To be called in float64, as all here."""
    world = make_world(world_seed)
    return Learner(world, jnp.asarray(world.ref_logits), tabular)


@functools.lru_cache(maxsize=4)
def transformer(
    world_seed: int, policy: SharedPolicy = SHARED, fit_steps: int = FIT_STEPS
) -> Learner:
    """A transformer that imitates that table; what it says is the reference then.

    The gold rewards are standardised under it. It trains in float32.
    """
    world = make_world(
        world_seed,
        num_symbols=policy.num_symbols,
        max_length=policy.max_length,
        num_prompts=policy.num_prompts,
    )
    with jax.enable_x64(False):
        key = jax.random.key(world_seed)
        params, logits, _ = fit_to_reference(policy, world, key, fit_steps)
    return Learner(with_reference(world, np.asarray(logits)), params, policy.table)


POLICIES = {"table": table, "transformer": transformer}


def named(policy: str, arm: str) -> str:
    """An arm's name in `results.csv`; a table is not said."""
    return arm if policy == "table" else f"{policy}_{arm}"
