"""RLOO on samples of an earlier policy, or of one whose logits are rounded."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.e03_estimators.train import at_prompt
from experiments.e13_off_policy.centring import ARMS, CENTRED, mean_score_term
from experiments.enumlm import World, response_logps, sample
from jaxalign.losses import policy_gradient_loss
from jaxalign.ops import rloo_advantages
from jaxalign.rewards import token_rewards

OLDEST = 8


class Plan(NamedTuple):
    """How a run goes, the same for all arms."""

    num_steps: int = 300
    num_groups: int = 16  # for each prompt and step
    group_size: int = 4
    learning_rate: float = 0.3


class Trained(NamedTuple):
    """Logits `[X, P, V]` after training, and those of the last sampler."""

    policy: jax.Array
    sampler: jax.Array


@functools.partial(jax.jit, static_argnames=("arm", "plan"))
def train(
    world: World,
    arm: str,
    lag: jax.Array,
    grid: jax.Array,
    beta: jax.Array,
    offset: jax.Array,
    key: jax.Array,
    plan: Plan,
) -> Trained:
    """Trains from the reference.

    Args:
      world: The world.
      arm: A name in `ARMS`: the weights, and whether the mean score is taken out.
      lag: How many updates the sampler is older, 0 to 8.
      grid: Its logits are rounded to multiples of this; 0: they are not.
      beta: Weight of the KL term, which is in the reward.
      offset: Added to all advantages: 0 for RLOO's, which have mean 0.
      key: Used up for the samples of all steps.
      plan: How long, on how much.
    """
    optimizer = optax.adam(
        optax.cosine_decay_schedule(plan.learning_rate, plan.num_steps)
    )

    def step(carry, now):
        logits, opt_state, earlier = carry
        key, index = now
        earlier = earlier.at[index % (OLDEST + 1)].set(logits)
        # Before so many updates the oldest is the reference.
        old = earlier[jnp.maximum(index - lag, 0) % (OLDEST + 1)]
        steps = jnp.where(grid > 0, grid, 1.0)
        old = jnp.where(grid > 0, jnp.round(old / steps) * steps, old)
        law = response_logps(old, world.responses)
        drawn = sample(key, law, plan.num_groups * plan.group_size)
        drawn = drawn.reshape(-1, plan.num_groups, plan.group_size)
        objective = functools.partial(
            loss_of, world, arm, drawn, sampler=old, beta=beta, offset=offset
        )
        updates, opt_state = optimizer.update(jax.grad(objective)(logits), opt_state)
        updated: Any = optax.apply_updates(logits, updates)
        return (updated, opt_state, earlier), old

    start = jnp.asarray(world.ref_logits)
    earlier = jnp.broadcast_to(start, (OLDEST + 1, *start.shape))
    carry = start, optimizer.init(start), earlier
    steps = jax.random.split(key, plan.num_steps), jnp.arange(plan.num_steps)
    carry, samplers = jax.lax.scan(step, carry, steps)
    return Trained(carry[0], samplers[-1])


def loss_of(world: World, arm: str, drawn, logits, *, sampler, beta, offset):
    """RLOO's loss of responses `[X, groups, K]` that `sampler` drew."""
    responses = world.responses
    token = jnp.asarray(responses.token)[drawn]
    token = token.reshape(-1, *token.shape[2:])
    mask = jnp.asarray(responses.mask)[drawn].reshape(token.shape)

    def of_states(table):
        logps = jax.nn.log_softmax(table)[..., responses.prefix, :]
        return at_prompt(logps, drawn)

    def taken(of_all):
        return jnp.take_along_axis(of_all, token[..., None], axis=-1)[..., 0]

    policy, behind, ref = map(of_states, (logits, sampler, world.ref_logits))
    logps, old = taken(policy), jax.lax.stop_gradient(taken(policy))
    scores = at_prompt(jnp.asarray(world.rewards), drawn)
    rewards = token_rewards(scores, old, taken(ref), mask, kl_coef=beta).sum(-1)
    advantages = rloo_advantages(rewards, jnp.ones(rewards.shape, bool)) + offset
    spread = jnp.broadcast_to(advantages[..., None], mask.shape)
    weights = ARMS[arm](old, taken(behind), mask)
    penalty = None
    if arm in CENTRED:
        penalty = mean_score_term(ARMS[arm], policy, behind, spread, mask)
    return policy_gradient_loss(
        logps, old, spread, mask, weights=weights, penalty=penalty
    ).loss.value
