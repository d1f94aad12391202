"""Pre-training, SFT and RL of a network that names one of 50 answers, or none.

Functions of one seed, to be mapped over seeds (and RL over rewards) by `jax.vmap`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.e05_abstention.facts import ANSWERS, IDK, Facts, redrawn
from experiments.e05_abstention.network import Params, class_logps, perceptron
from jaxalign.losses import policy_gradient_loss, sft_loss
from jaxalign.ops import rloo_advantages

GROUP = 4


def pretrain(
    key: jax.Array, facts: Facts, idk: jax.Array, num_steps: int, network=perceptron
) -> Params:
    """Learns the texts, a share `idk` of which says that nothing is known.

    Args:
      key: Used up.
      facts: What the texts say.
      idk: A share.
      num_steps: Updates.
      network: Two keys and a number of entities to random parameters.
    """
    *for_start, for_steps = jax.random.split(key, 3)
    params = network(for_start, len(facts.truth))

    def loss(params, key):
        entities, target = _text(key, facts, idk)
        return nll(class_logps(params, entities), target)

    return descended(loss, params, for_steps, 3e-3, num_steps)


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
        entities = training_rows(for_rows, targets)
        silent = jax.random.uniform(for_idk, entities.shape) < idk
        target = jnp.where(silent, IDK, targets[entities])
        return nll(class_logps(params._replace(layers=layers), entities), target)

    layers = descended(loss, params.layers, key, 1e-3, num_steps)
    return params._replace(layers=layers)


def reinforce(
    key: jax.Array,
    params: Params,
    facts: Facts,
    rewards: jax.Array,
    judge: jax.Array,
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
      judge: `[2]`: how often the judge takes a wrong answer for right, and a right
        one for wrong.
      num_steps: Updates.
      anew: Whether the truth is drawn for each question, with the chance that the texts
        give it; else it stays the same, and can be learned by heart.
    """

    def loss(layers, key):
        for_rows, for_samples, for_truth = jax.random.split(key, 3)
        entities = training_rows(for_rows, facts.truth)
        truth = facts.truth[entities]
        if anew:
            truth = redrawn(for_truth, facts, entities)
        # Apart from the others: a judge that never errs changes no draw.
        for_judge = jax.random.fold_in(key, 3)

        def verdict(said):
            luck = jax.random.uniform(for_judge, said.shape)
            right = said == truth[:, None]
            return jnp.where(right, luck >= judge[1], luck < judge[0])

        logps = class_logps(params._replace(layers=layers), entities)
        return rloo_loss(for_samples, logps, verdict, rewards)

    layers = descended(loss, params.layers, key, 1e-3, num_steps)
    return params._replace(layers=layers)


def rloo_loss(key: jax.Array, logps: jax.Array, verdict, rewards: jax.Array):
    """Policy gradient of `GROUP` samples a question, each against the others.

    Args:
      key: Used up for the samples.
      logps: `[N, 51]`.
      verdict: From answers `[N, GROUP]` to which are right; asked of silence for
        nothing.
      rewards: `[3]`: of right, "I don't know", wrong.
    """
    shape = (len(logps), GROUP)
    said = jax.random.categorical(key, logps[:, None], shape=shape)
    outcome = jnp.where(said == IDK, 1, jnp.where(verdict(said), 0, 2))
    advantages = rloo_advantages(rewards[outcome], jnp.ones(shape, bool))
    taken = jnp.take_along_axis(logps, said, axis=1)[..., None]
    old = jax.lax.stop_gradient(taken)
    mask = jnp.ones(taken.shape, bool)
    return policy_gradient_loss(taken, old, advantages[..., None], mask).loss.value


def training_rows(key, of_entities, batch: int = 256):
    """Even entities."""
    return 2 * jax.random.randint(key, (batch,), 0, len(of_entities) // 2)


def nll(logps, target):
    """Of one target for each row."""
    taken = jnp.take_along_axis(logps, target[:, None], axis=1)
    return sft_loss(taken, jnp.ones(taken.shape, bool)).loss.value


def descended(loss, params, key, rate: float, num_steps: int):
    """Adam; `loss(params, key)` is minimised, with a key for each update."""
    optimizer = optax.adam(rate)

    def step(carry, key):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, key), state)
        updated: Any = optax.apply_updates(params, updates)
        return (updated, state), None

    carry = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(step, carry, jax.random.split(key, num_steps))
    return params
