"""One run: sample, score, take gradient steps, again; the whole of it one program."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.e03_estimators.arms import ARMS, Batch
from experiments.enumlm import (
    World,
    expected,
    kl_divergence,
    response_logps,
    sample,
    token_logps,
)


class Plan(NamedTuple):
    """How a run goes, the same for all arms."""

    num_steps: int = 300
    num_groups: int = 32  # for each prompt and step
    group_size: int = 4
    learning_rate: float = 0.05


class Params(NamedTuple):
    """Tables: `[X, P, V]` logits, and the value of each state, `[X, P]`."""

    policy: jax.Array
    critic: jax.Array


class History(NamedTuple):
    """Reward and KL divergence after each step, exactly: `[num_steps]`."""

    reward: jax.Array
    kl: jax.Array


@functools.partial(jax.jit, static_argnames=("arm", "plan"))
def train(
    world: World,
    arm: str,
    beta: jax.Array,
    key: jax.Array,
    plan: Plan,
    flip: jax.Array | None = None,
) -> tuple[jax.Array, History]:
    """Trains from the reference.

    Args:
      world: The world.
      arm: A name in `ARMS`.
      beta: Weight of the KL term, a scalar.
      key: Used up for the samples of all steps.
      plan: How long, on how much.
      flip: The chance that a reward r of one sample becomes 1 − r; None: none does.

    Returns:
      Log-probabilities of the trained policy, `[X, S]`, and how it came there.
    """
    loss_fn, epochs = ARMS[arm]
    schedule = optax.cosine_decay_schedule(plan.learning_rate, plan.num_steps * epochs)
    optimizer = optax.adam(schedule)
    responses = world.responses

    def update(batch, drawn, carry, _):
        params, opt_state = carry

        def loss(params):
            logps, values = read(world, params, drawn)
            return loss_fn(logps, values, batch, beta).value

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        updated: Any = optax.apply_updates(params, updates)
        return (updated, opt_state), None

    def step(carry, key):
        params, _ = carry
        keys = [key] if flip is None else [*jax.random.split(key)]
        now = response_logps(params.policy, responses)
        drawn = sample(keys[0], now, plan.num_groups * plan.group_size)
        drawn = drawn.reshape(-1, plan.num_groups, plan.group_size)
        batch = make_batch(world, params, drawn)
        if flip is not None:
            flipped = jax.random.bernoulli(keys[1], flip, batch.scores.shape)
            scores = jnp.where(flipped, 1 - batch.scores, batch.scores)
            batch = batch._replace(scores=scores)
        one_epoch = functools.partial(update, batch, drawn)
        carry, _ = jax.lax.scan(one_epoch, carry, length=epochs)
        logps = response_logps(carry[0].policy, responses)
        reward = expected(logps, world.rewards)
        return carry, History(reward, kl_divergence(logps, world.ref_logps))

    critic = jnp.zeros(world.ref_logits.shape[:-1], world.ref_logits.dtype)
    params = Params(jnp.asarray(world.ref_logits), critic)
    carry = params, optimizer.init(params)
    carry, history = jax.lax.scan(step, carry, jax.random.split(key, plan.num_steps))
    return response_logps(carry[0].policy, responses), history


def make_batch(world: World, params: Params, drawn: jax.Array) -> Batch:
    """What is known of responses `[X, groups, K]`; groups of all prompts in a row."""
    logps, values = read(world, params, drawn)
    ref = Params(jnp.asarray(world.ref_logits), params.critic)
    ref_logps, _ = read(world, ref, drawn)
    scores = at_prompt(jnp.asarray(world.rewards), drawn)
    mask = jnp.asarray(world.responses.mask)[drawn].reshape(logps.shape)
    return Batch(scores, mask, logps, ref_logps, values)


def read(world: World, params: Params, drawn: jax.Array):
    """Log-probabilities and values of the tokens of drawn responses, `[N, K, L]`."""
    logps = token_logps(params.policy, world.responses)
    values = params.critic[:, world.responses.prefix]
    return at_prompt(logps, drawn), at_prompt(values, drawn)


def at_prompt(x: jax.Array, drawn: jax.Array) -> jax.Array:
    """`[X, S, ...]` at responses `[X, groups, K]`, as `[X · groups, K, ...]`."""
    picked = jax.vmap(lambda of_prompt, rows: of_prompt[rows])(x, drawn)
    return picked.reshape(-1, *picked.shape[2:])
