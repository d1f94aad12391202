"""Training of a table of logits on sampled completions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.e12_threshold.world import Actions, World
from jaxalign.losses import policy_gradient_loss
from jaxalign.ops import group_advantages, rloo_advantages

RATE = 2.0


class Credit(NamedTuple):
    """How an update values its samples.

    Attributes:
      advantages: From rewards `[Q, G]` and which of them count.
      group: G, samples a question.
    """

    advantages: Callable[[jax.Array, jax.Array], jax.Array]
    group: int


ARMS = {
    "trained": Credit(rloo_advantages, 32),
    "rloo_4": Credit(rloo_advantages, 4),
    "grpo_4": Credit(group_advantages, 4),
    "grpo_32": Credit(group_advantages, 32),
}
"""GRPO divides by the deviation within the group, leave-one-out does not."""


def train(
    world: World, actions: Actions, seed: int, num_steps: int, arm: str = "trained"
) -> np.ndarray:
    """The policy `[Q, A]` after so many updates, each from a group a question."""
    credit = ARMS[arm]
    right = jnp.asarray(world.right)
    # What is drawn beyond the candidates says that none of them is right.
    chances = jnp.concatenate([right, 1 - right.sum(axis=1, keepdims=True)], axis=1)
    candidate = jnp.asarray(actions.candidate)
    table = jnp.asarray(actions.if_right), jnp.asarray(actions.if_wrong)
    optimizer = optax.sgd(optax.linear_schedule(RATE, 0.1 * RATE, num_steps))
    shape = len(world.right), credit.group

    def step(state, key):
        logits, opt_state = state
        for_said, for_truth = jax.random.split(key)
        said = jax.random.categorical(for_said, logits[:, None], shape=shape)
        truth = jax.random.categorical(
            for_truth, jnp.log(chances)[:, None], shape=shape
        )
        is_right = candidate[said] == truth
        rewards = jnp.where(is_right, table[0][said], table[1][said])
        advantages = credit.advantages(rewards, jnp.ones(shape, bool))

        def loss(logits):
            logps = jnp.take_along_axis(jax.nn.log_softmax(logits), said, axis=1)
            mask = jnp.ones((*shape, 1), bool)
            old = jax.lax.stop_gradient(logps[..., None])
            out = policy_gradient_loss(
                logps[..., None], old, advantages[..., None], mask
            )
            # The mean over questions would make each of them a sixtieth as fast.
            return len(world.right) * out.loss.value

        updates, opt_state = optimizer.update(jax.grad(loss)(logits), opt_state)
        return (optax.apply_updates(logits, updates), opt_state), None

    logits = jnp.zeros((len(right), len(candidate)))
    keys = jax.random.split(jax.random.key(seed), num_steps)
    state, _ = jax.jit(lambda *x: jax.lax.scan(step, *x))(
        (logits, optimizer.init(logits)), keys
    )
    return np.asarray(jax.nn.softmax(state[0]), np.float64)
