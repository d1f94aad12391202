"""PPO with a second stream of responses, SFT, and the exact gradient.

All prompts share one transformer; PPO's critic is a table of its own. PPO and the
likelihood are the library's, put together as `jaxalign ppo --mix-data` does it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.e03_estimators.arms import ARMS, Batch
from experiments.e03_estimators.train import (
    Params,
    at_prompt,
    make_batch,
    make_optimizer,
    read,
)
from experiments.enumlm import (
    World,
    objective,
    response_logps,
    sample,
    token_logps,
)
from experiments.enumlm.transformer import SharedPolicy, of_prompts
from jaxalign.losses import LossOutput, sft_loss
from jaxalign.objectives import MixedBatch, mixed_objective

RL_PROMPTS = range(8)
TEXT_PROMPTS = range(8, 16)


class Plan(NamedTuple):
    """How a run goes, the same for all arms."""

    num_steps: int = 100
    num_samples: int = 128  # for each prompt and step
    stream_size: int = 16  # responses of each prompt of the stream and update
    rate: float = 1e-3
    critic_rate: float = 0.05
    sft_steps: int = 200
    exact_steps: int = 600


class Sampled(NamedTuple):
    """Responses `[X, groups, K]` of PPO's prompts, and what was known of them."""

    drawn: jax.Array
    known: Batch


def ppo_objective(world: World, beta: jax.Array) -> Callable:
    """E3's PPO on the first prompts: `(Params, Sampled, key) -> LossOutput`."""

    def objective(params: Params, batch: Sampled, key) -> LossOutput:
        del key
        mine = params._replace(policy=params.policy[: len(RL_PROMPTS)])
        logps, values = read(world, mine, batch.drawn)
        return LossOutput(ARMS["ppo"].loss(logps, values, batch.known, beta), {})

    return objective


def likelihood(world: World, prompts: range) -> Callable:
    """The mean negative log-likelihood of responses `[X, N]`, as SFT has it.

    `(table of all prompts, responses, key) -> LossOutput`.
    """
    responses = world.responses

    def objective(table: jax.Array, drawn: jax.Array, key) -> LossOutput:
        del key
        mine = table[prompts.start : prompts.stop]
        logps = at_prompt(token_logps(mine, responses), drawn[:, None])
        mask = jnp.asarray(responses.mask)[drawn].reshape(logps.shape)
        return sft_loss(logps, mask)

    return objective


@functools.partial(jax.jit, static_argnames=("policy", "prompts", "plan"))
def train_ppo(
    policy: SharedPolicy,
    world: World,
    start: Any,
    prompts: range,
    stream: jax.Array,
    coef: jax.Array,
    beta: jax.Array,
    key: jax.Array,
    plan: Plan,
) -> jax.Array:
    """PPO on the first prompts, plus `coef` times the likelihood of a stream.

    Args:
      policy: The transformer.
      world: Of all prompts.
      start: The transformer's parameters.
      prompts: Of the stream.
      stream: `[len(prompts), S]`, log-probabilities that its responses are drawn by.
      coef: Weight of their mean negative log-likelihood.
      beta: Weight of the KL term, which is in the reward.
      key: Used up for all samples; those of PPO are the same whatever the stream.
      plan: How long, on how much.

    Returns:
      The tables before each step and after the last one, `[num_steps + 1, X, P, V]`.
    """
    mine, everything = of_prompts(world, RL_PROMPTS), range(policy.num_prompts)
    both = mixed_objective(
        ppo_objective(mine, beta),
        likelihood(world, prompts),
        coef=coef,  # pyright: ignore[reportArgumentType]
        select=lambda tables: tables.policy,
    )

    def tables_of(params) -> Params:
        return params._replace(policy=policy.logits(params.policy, everything))

    epochs = ARMS["ppo"].epochs
    optimizer = make_optimizer(plan.rate, plan.critic_rate, plan.num_steps * epochs)

    def update(sampled, carry, key):
        params, state = carry
        texts = sample(key, stream, plan.stream_size)
        batch: Any = MixedBatch(sampled, texts)  # pyright: ignore[reportArgumentType]

        def cost(params):
            return both(tables_of(params), batch, None).loss.value

        grads = jax.grad(cost)(params)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    def step(carry, key):
        params, _ = carry
        for_samples, for_stream = jax.random.split(key)
        table, critic = tables_of(params)
        now = Params(table[: len(RL_PROMPTS)], critic)
        drawn = sample(
            for_samples, response_logps(now.policy, mine.responses), plan.num_samples
        )
        drawn = drawn[:, :, None]  # PPO compares none with others: groups of one
        sampled = Sampled(drawn, make_batch(mine, now, drawn))
        keys = jax.random.split(for_stream, epochs)
        carry, _ = jax.lax.scan(functools.partial(update, sampled), carry, keys)
        return carry, table

    critic = jnp.zeros((len(RL_PROMPTS), mine.ref_logits.shape[1]))
    params = Params(start, critic)
    carry = params, optimizer.init(params)
    carry, tables = jax.lax.scan(step, carry, jax.random.split(key, plan.num_steps))
    return jnp.concatenate([tables, tables_of(carry[0]).policy[None]])


@functools.partial(jax.jit, static_argnames=("policy", "prompts", "plan"))
def train_sft(
    policy: SharedPolicy,
    world: World,
    start: Any,
    prompts: range,
    stream: jax.Array,
    key: jax.Array,
    plan: Plan,
) -> Any:
    """The likelihood of the stream alone; gives parameters."""
    objective = likelihood(world, prompts)

    def cost(params, key):
        table = policy.logits(params, range(policy.num_prompts))
        drawn = sample(key, stream, plan.stream_size)
        return objective(table, drawn, None).loss.value

    return _descended(cost, start, jax.random.split(key, plan.sft_steps), plan.rate)


@functools.partial(jax.jit, static_argnames=("policy", "plan"))
def train_exactly(
    policy: SharedPolicy, world: World, start: Any, beta: jax.Array, plan: Plan
) -> Any:
    """R − β KL of the first prompts by its exact gradient: what can be reached."""
    mine = of_prompts(world, RL_PROMPTS)

    def cost(params, _):
        logps = response_logps(policy.logits(params, RL_PROMPTS), mine.responses)
        return -objective(mine, logps, beta)

    return _descended(cost, start, jnp.arange(plan.exact_steps), plan.rate)


def _descended(cost, params, of_steps: jax.Array, rate: float):
    """Adam with a falling rate; `cost(params, x)` for each x of `of_steps`."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, len(of_steps)))

    def step(carry, x):
        params, state = carry
        updates, state = optimizer.update(jax.grad(cost)(params, x), state)
        return (optax.apply_updates(params, updates), state), None

    carry, _ = jax.lax.scan(step, (params, optimizer.init(params)), of_steps)
    return carry[0]
