"""One run: sample, score, take gradient steps, again; the whole of it one program."""

import functools
from collections.abc import Callable
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
    tabular,
    token_logps,
)


class Plan(NamedTuple):
    """How a run goes, the same for all arms.

    `critic_rate` is for a policy that needs another rate than the critic, a table.
    """

    num_steps: int = 300
    num_groups: int = 32  # for each prompt and step
    group_size: int = 4
    learning_rate: float = 0.05
    critic_rate: float | None = None


class Params(NamedTuple):
    """The policy's parameters or its table, and the value of each state.

    Attributes:
      policy: As a table `[X, P, V]`, logits.
      critic: `[X, P]`.
    """

    policy: Any
    critic: jax.Array


class History(NamedTuple):
    """Reward and KL divergence after each step, exactly: `[num_steps]`."""

    reward: jax.Array
    kl: jax.Array


@functools.partial(jax.jit, static_argnames=("arm", "plan", "table_of"))
def train(
    world: World,
    arm: str,
    beta: jax.Array,
    key: jax.Array,
    plan: Plan,
    flip: jax.Array | None = None,
    start: Any = None,
    table_of: Callable[[Any], jax.Array] = tabular,
) -> tuple[jax.Array, History]:
    """Trains from the reference.

    Args:
      world: The world.
      arm: A name in `ARMS`.
      beta: Weight of the KL term, a scalar.
      key: Used up for the samples of all steps.
      plan: How long, on how much.
      flip: The chance that a reward r of one sample becomes 1 − r; None: none does.
      start: The policy's parameters, which are those of the reference; None: its table.
      table_of: What the policy is: from its parameters to its table `[X, P, V]`.

    Returns:
      Log-probabilities of the trained policy, `[X, S]`, and how it came there.
    """
    loss_fn, epochs = ARMS[arm]
    optimizer = make_optimizer(
        plan.learning_rate, plan.critic_rate, plan.num_steps * epochs
    )
    responses = world.responses

    def tables_of(params: Params) -> Params:
        return params._replace(policy=table_of(params.policy))

    def update(batch, drawn, carry, _):
        params, opt_state = carry

        def loss(params):
            logps, values = read(world, tables_of(params), drawn)
            return loss_fn(logps, values, batch, beta).value

        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state)
        updated: Any = optax.apply_updates(params, updates)
        return (updated, opt_state), None

    def step(carry, key):
        now = tables_of(carry[0])
        keys = [key] if flip is None else [*jax.random.split(key)]
        logps = response_logps(now.policy, responses)
        drawn = sample(keys[0], logps, plan.num_groups * plan.group_size)
        drawn = drawn.reshape(-1, plan.num_groups, plan.group_size)
        batch = make_batch(world, now, drawn)
        if flip is not None:
            flipped = jax.random.bernoulli(keys[1], flip, batch.scores.shape)
            scores = jnp.where(flipped, 1 - batch.scores, batch.scores)
            batch = batch._replace(scores=scores)
        one_epoch = functools.partial(update, batch, drawn)
        carry, _ = jax.lax.scan(one_epoch, carry, length=epochs)
        logps = response_logps(table_of(carry[0].policy), responses)
        reward = expected(logps, world.rewards)
        return carry, History(reward, kl_divergence(logps, world.ref_logps))

    critic = jnp.zeros(world.ref_logits.shape[:-1], world.ref_logits.dtype)
    params = Params(jnp.asarray(world.ref_logits) if start is None else start, critic)
    carry = params, optimizer.init(params)
    carry, history = jax.lax.scan(step, carry, jax.random.split(key, plan.num_steps))
    return response_logps(table_of(carry[0].policy), responses), history


def make_optimizer(
    rate: float, critic_rate: float | None, num_updates: int
) -> optax.GradientTransformation:
    """Adam for `Params`, each with a rate of its own, or one; they end at 0."""
    if critic_rate is None:
        return optax.adam(optax.cosine_decay_schedule(rate, num_updates))
    rates = Params(rate, critic_rate)  # pyright: ignore[reportArgumentType]
    of_each: dict[Any, optax.GradientTransformation] = {
        name: optax.adam(optax.cosine_decay_schedule(x, num_updates))
        for name, x in rates._asdict().items()
    }
    return optax.partition(of_each, Params(*of_each))


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
