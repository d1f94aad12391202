"""Pre-training, SFT and RL of a small network that names one of 50 answers, or none.

Functions of one seed, to be mapped over seeds (and RL over rewards) by `jax.vmap`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments import mlp
from experiments.e05_abstention.facts import ANSWERS, IDK, Facts, redrawn
from jaxalign.losses import policy_gradient_loss, sft_loss
from jaxalign.ops import rloo_advantages

WIDTH, HIDDEN = 64, 256
GROUP = 4


class Params(NamedTuple):
    """The embedding `[E, 64]`, frozen after pre-training, and what reads it."""

    embedding: jax.Array
    layers: mlp.Layers


def class_logps(params: Params, entities: jax.Array | slice = slice(None)):
    """Log-probabilities of all classes, `[..., 51]`."""
    return jax.nn.log_softmax(mlp.apply(params.layers, params.embedding[entities]))


def pretrain(key: jax.Array, facts: Facts, idk: jax.Array, num_steps: int) -> Params:
    """Learns the texts, a share `idk` of which says that nothing is known."""
    for_table, for_layers, for_steps = jax.random.split(key, 3)
    size = len(facts.truth)
    params = Params(
        0.3 * jax.random.normal(for_table, (size, WIDTH)),
        mlp.init(for_layers, (WIDTH, HIDDEN, ANSWERS + 1)),
    )

    def loss(params, key):
        entities, target = _text(key, facts, idk)
        return _nll(class_logps(params, entities), target)

    return _adam(loss, params, for_steps, 3e-3, num_steps)


def _text(key, facts: Facts, idk, batch: int = 512):
    keys = jax.random.split(key, 4)
    entities = jax.random.randint(keys[0], (batch,), 0, len(facts.truth))
    told = jax.random.uniform(keys[1], (batch,)) < facts.share[entities]
    any_answer = jax.random.randint(keys[2], (batch,), 0, ANSWERS)
    target = jnp.where(told, facts.told[entities], any_answer)
    silent = jax.random.uniform(keys[3], (batch,)) < idk
    return entities, jnp.where(silent, IDK, target)


def finetune(
    key: jax.Array, params: Params, targets: jax.Array, idk: jax.Array, num_steps: int
) -> Params:
    """SFT on the even entities: `targets` `[E]`, but IDK in a share `idk` of rows."""

    def loss(layers, key):
        for_rows, for_idk = jax.random.split(key)
        entities = _training_rows(for_rows, targets)
        silent = jax.random.uniform(for_idk, entities.shape) < idk
        target = jnp.where(silent, IDK, targets[entities])
        return _nll(class_logps(params._replace(layers=layers), entities), target)

    layers = _adam(loss, params.layers, key, 1e-3, num_steps)
    return params._replace(layers=layers)


def reinforce(
    key: jax.Array,
    params: Params,
    facts: Facts,
    rewards: jax.Array,
    num_steps: int,
    *,
    anew: bool,
) -> Params:
    """RLOO on the even entities.

    Args:
      key: Used up for rows and samples.
      params: Where it begins.
      facts: With the right answers.
      rewards: `[3]`: of right, "I don't know", wrong.
      num_steps: Updates.
      anew: Whether the truth is drawn for each question, with the chance that the texts
        give it; else it stays the same, and can be learned by heart.
    """

    def loss(layers, key):
        for_rows, for_samples, for_truth = jax.random.split(key, 3)
        entities = _training_rows(for_rows, facts.truth)
        truth = facts.truth[entities]
        if anew:
            truth = redrawn(for_truth, facts, entities)
        logps = class_logps(params._replace(layers=layers), entities)
        shape = (*entities.shape, GROUP)
        said = jax.random.categorical(for_samples, logps[:, None], shape=shape)
        right = said == truth[:, None]
        outcome = jnp.where(right, 0, jnp.where(said == IDK, 1, 2))
        advantages = rloo_advantages(rewards[outcome], jnp.ones(shape, bool))
        taken = jnp.take_along_axis(logps, said, axis=1)[..., None]
        old = jax.lax.stop_gradient(taken)
        mask = jnp.ones(taken.shape, bool)
        return policy_gradient_loss(taken, old, advantages[..., None], mask).loss.value

    layers = _adam(loss, params.layers, key, 1e-3, num_steps)
    return params._replace(layers=layers)


def _training_rows(key, of_entities, batch: int = 256):
    return 2 * jax.random.randint(key, (batch,), 0, len(of_entities) // 2)


def _nll(logps, target):
    taken = jnp.take_along_axis(logps, target[:, None], axis=1)
    return sft_loss(taken, jnp.ones(taken.shape, bool)).loss.value


def _adam(loss, params, key, rate: float, num_steps: int):
    optimizer = optax.adam(rate)

    def step(carry, key):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, key), state)
        updated: Any = optax.apply_updates(params, updates)
        return (updated, state), None

    carry = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(step, carry, jax.random.split(key, num_steps))
    return params
