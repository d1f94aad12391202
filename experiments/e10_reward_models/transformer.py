"""A small transformer with a scalar head, trained on rankings or on their pairs."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.e10_reward_models.rankings import draw
from experiments.enumlm import World
from experiments.enumlm.transformer import small_config
from jaxalign.losses import kwise_loss
from jaxalign.models import Transformer, init_params, scalar_scores

WIDTH = 32
RATE = 2e-3
RANKINGS, SIZE, AT_ONCE = 64, 9, 8
PAIRS_AT_ONCE = 256


def batches_of(arm: str, world: World, key: jax.Array, num: int, epochs: int):
    """Responses `[epochs, batches, rows, K]`, best first.

    Args:
      arm: `together`: all of a ranking in one batch; `shuffled`: the same pairs, as
        many in each batch, wherever they come from; `pairs`: of `num` pairs.
      world: The world.
      key: Used up for what is drawn and for the order.
      num: Pairs of the arm `pairs`.
      epochs: How often everything is seen.
    """
    for_data, for_order = jax.random.split(key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(for_order)))
    if arm == "pairs":
        rows, size = np.asarray(draw(world, for_data, num, 2)), PAIRS_AT_ONCE
        rows = rows[: num // min(size, num) * min(size, num)]
    else:
        rows, size = np.asarray(draw(world, for_data, RANKINGS, SIZE)), AT_ONCE
        if arm == "shuffled":
            pairs = list(itertools.combinations(range(SIZE), 2))
            rows, size = rows[:, pairs].reshape(-1, 2), AT_ONCE * len(pairs)
    size = min(size, len(rows))
    orders = [rng.permutation(len(rows)).reshape(-1, size) for _ in range(epochs)]
    return rows[np.stack(orders)]


def train(world: World, key: jax.Array, batches: np.ndarray) -> np.ndarray:
    """Scores of all responses after each epoch, `[epochs, S]`."""
    responses = world.responses
    start = np.full((responses.num_responses, 1), responses.vocab_size, np.int32)
    ids = jnp.asarray(np.concatenate([start, responses.token], axis=1))
    at = jnp.asarray(responses.lengths[:, None].astype(np.int32))
    return np.asarray(_train(responses.vocab_size + 1, ids, at, key, batches))


@functools.partial(jax.jit, static_argnums=0)
def _train(vocab_size: int, ids, at, key, batches):
    model = Transformer(small_config(vocab_size, WIDTH, head="score"))
    params = init_params(model, key)
    optimizer = optax.adam(RATE)

    def scores_of(params):
        return scalar_scores(model, params, ids, at)[:, 0]

    def loss(params, ranked):
        there = jnp.ones(ranked.shape, bool)
        return kwise_loss(scores_of(params)[ranked], there).loss.value

    def step(carry, ranked):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, ranked), state)
        updated: Any = optax.apply_updates(params, updates)
        return (updated, state), None

    def epoch(carry, of_epoch):
        carry, _ = jax.lax.scan(step, carry, of_epoch)
        return carry, scores_of(carry[0])

    return jax.lax.scan(epoch, (params, optimizer.init(params)), batches)[1]
