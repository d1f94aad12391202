"""Three kinds of queries, of which one alone is about what the model knows.

After Goldberg, https://gist.github.com/yoavg/6bff0fecd65950898eba1bb321cfbd81: a model
is asked about a text that it is given, about what it knows, or to invent. The right
answer to the first is in the prompt, to the third every answer is right. One
transformer answers all three, and is rewarded for right answers, silence and wrong
ones; what it does is reported apart.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.e05_abstention.facts import ANSWERS, IDK, Facts, known_or_not
from experiments.e05_abstention.network import Params, transformer, written
from experiments.e05_abstention.train import descended, nll, rloo_loss, training_rows

MODES = ("grounded", "knowledge", "creative")
GROUNDED, KNOWLEDGE, CREATIVE = range(len(MODES))
STAGES = ("base", "sft", "rl")


class Queries(NamedTuple):
    """N queries.

    Attributes:
      ids: `[N, 2]` for the transformer: an entity, and an answer that is given or one
        of two marks.
      answer: `[N]`, what is right; of creative queries any answer.
      mode: `[N]`, its place in `MODES`.
    """

    ids: jax.Array
    answer: jax.Array
    mode: jax.Array

    def right(self, said: jax.Array) -> jax.Array:
        """`[N, K]` bool, of answers `[N, K]` that are not silence."""
        any_is = self.mode == CREATIVE
        return any_is[:, None] | (said == self.answer[:, None])


def queries(facts: Facts, entities, mode, other) -> Queries:
    """Queries about entities.

    Args:
      facts: With the right answers.
      entities: `[N]`.
      mode: `[N]`.
      other: `[N]`, the answer that is given, or invented.
    """
    size = len(facts.truth)
    grounded, knowledge = mode == GROUNDED, mode == KNOWLEDGE
    second = jnp.where(grounded, size + 2 + other, jnp.where(knowledge, size, size + 1))
    answer = jnp.where(knowledge, facts.truth[entities], other)
    return Queries(jnp.stack([entities, second], axis=1), answer, mode)


def drawn(key: jax.Array, facts: Facts, entities: jax.Array) -> Queries:
    """A query about each entity, of any kind."""
    for_mode, for_other = jax.random.split(key)
    mode = jax.random.randint(for_mode, entities.shape, 0, len(MODES))
    other = jax.random.randint(for_other, entities.shape, 0, ANSWERS)
    return queries(facts, entities, mode, other)


def pretrained(key: jax.Array, facts: Facts, idk: float, num_steps: int) -> Params:
    """Learns texts of all three kinds, a share `idk` of which is silent.

    Given answers are repeated in 95 of 100 texts, as known facts are told.
    """
    *for_start, for_steps = jax.random.split(key, 3)
    size = len(facts.truth)
    start = transformer(for_start, size + 1 + ANSWERS)

    def loss(params, key):
        keys = jax.random.split(key, 5)
        entities = jax.random.randint(keys[0], (512,), 0, size)
        asked = drawn(keys[1], facts, entities)
        share = jnp.where(asked.mode == KNOWLEDGE, facts.share[entities], 0.95)
        told = jax.random.uniform(keys[2], entities.shape) < share
        any_answer = jax.random.randint(keys[3], entities.shape, 0, ANSWERS)
        target = jnp.where(told, asked.answer, any_answer)
        silent = jax.random.uniform(keys[4], entities.shape) < idk
        return nll(written(params, asked.ids), jnp.where(silent, IDK, target))

    return descended(loss, start, for_steps, 3e-3, num_steps)


def finetuned(key: jax.Array, params: Params, facts: Facts, num_steps: int) -> Params:
    """SFT on right answers to queries of all kinds about the even entities."""

    def loss(layers, key):
        for_rows, for_queries = jax.random.split(key)
        asked = drawn(for_queries, facts, training_rows(for_rows, facts.truth))
        return nll(written(params._replace(layers=layers), asked.ids), asked.answer)

    layers = descended(loss, params.layers, key, 1e-3, num_steps)
    return params._replace(layers=layers)


def reinforced(key: jax.Array, params: Params, facts: Facts, num_steps: int) -> Params:
    """RLOO on queries of all kinds about the even entities, rewards 1, 0, -1."""

    def loss(layers, key):
        for_rows, for_queries, for_samples = jax.random.split(key, 3)
        asked = drawn(for_queries, facts, training_rows(for_rows, facts.truth))
        logps = written(params._replace(layers=layers), asked.ids)
        rewards = jnp.array([1.0, 0.0, -1.0])
        return rloo_loss(for_samples, logps, asked.right, rewards)

    layers = descended(loss, params.layers, key, 1e-3, num_steps)
    return params._replace(layers=layers)


class Answered(NamedTuple):
    """Facts, and `[E, 51]` probabilities of what is said to a query about each.

    All that is right to a creative query counts as the answer that is in `facts`.
    """

    facts: Facts
    said: jax.Array


def answered(params: Params, facts: Facts, mode: int, key: jax.Array) -> Answered:
    """What is said to one kind of query, one about each entity."""
    entities = jnp.arange(len(facts.truth))
    given = jax.random.randint(key, entities.shape, 0, ANSWERS)
    asked = queries(facts, entities, jnp.full_like(entities, mode), given)
    said = jnp.exp(written(params, asked.ids))
    facts = facts._replace(truth=asked.answer)
    if mode == CREATIVE:
        silent = said[:, IDK]
        said = jnp.zeros_like(said).at[entities, asked.answer].set(1 - silent)
        said = said.at[:, IDK].set(silent)
    return Answered(facts, said)


@functools.lru_cache
def trained_on_all(
    keys: tuple[int, ...], idk: float, pretrain: int, sft: int, rl: int
) -> dict[str, dict[str, Answered]]:
    """For each stage and kind of query what is said, `[seeds, E, ...]`.

    Args:
      keys: Of the seeds.
      idk: How often texts are silent.
      pretrain: Updates.
      sft: Updates.
      rl: Updates.
    """

    def of_seed(seed):
        key = functools.partial(jax.random.fold_in, jax.random.key(seed))
        facts = known_or_not(key(0))
        base = pretrained(key(1), facts, idk, pretrain)
        stages = {
            "base": base,
            "sft": finetuned(key(3), base, facts, sft),
            "rl": reinforced(key(5), base, facts, rl),
        }
        return {
            stage: {
                name: answered(params, facts, mode, key(6))
                for mode, name in enumerate(MODES)
            }
            for stage, params in stages.items()
        }

    found = jax.jit(jax.vmap(of_seed))(jnp.array(keys))
    return jax.tree.map(np.asarray, found)
