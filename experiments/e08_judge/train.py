"""RLOO on a table of rewards of which some are flipped at random, sample by sample."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.e03_estimators.arms import ARMS
from experiments.e03_estimators.train import Params, Plan, make_batch, read
from experiments.enumlm import World, response_logps, sample


@functools.partial(jax.jit, static_argnames="plan")
def train(
    world: World, beta: jax.Array, flip: jax.Array, key: jax.Array, plan: Plan
) -> jax.Array:
    """Trains from the reference on `world.rewards`, with the KL term in the reward.

    Args:
      world: As the policy sees it.
      beta: Weight of the KL term.
      flip: The chance that a reward r of one sample becomes 1 − r.
      key: Used up for samples and flips.
      plan: How long, on how much.

    Returns:
      Log-probabilities of the trained policy, `[X, S]`.
    """
    optimizer = optax.adam(
        optax.cosine_decay_schedule(plan.learning_rate, plan.num_steps)
    )

    def step(carry, key):
        params, opt_state = carry
        for_samples, for_flips = jax.random.split(key)
        now = response_logps(params.policy, world.responses)
        drawn = sample(for_samples, now, plan.num_groups * plan.group_size)
        drawn = drawn.reshape(-1, plan.num_groups, plan.group_size)
        batch = make_batch(world, params, drawn)
        flipped = jax.random.bernoulli(for_flips, flip, batch.scores.shape)
        scores = jnp.where(flipped, 1 - batch.scores, batch.scores)
        batch = batch._replace(scores=scores)

        def loss(params):
            logps, values = read(world, params, drawn)
            return ARMS["rloo"].loss(logps, values, batch, beta).value

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        updated: Any = optax.apply_updates(params, updates)
        return (updated, opt_state), None

    logits = jnp.asarray(world.ref_logits)
    params = Params(logits, jnp.zeros(logits.shape[:-1], logits.dtype))
    carry = params, optimizer.init(params)
    carry, _ = jax.lax.scan(step, carry, jax.random.split(key, plan.num_steps))
    return response_logps(carry[0].policy, world.responses)
