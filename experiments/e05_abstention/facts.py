"""Facts about entities, of which a model has read some often and others never."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

ANSWERS = 50
IDK = ANSWERS
"""The class that says "I don't know"."""
ENTITIES = 600
GRADED_ENTITIES = 2000


class Facts(NamedTuple):
    """E entities, whose numbers say nothing; the even ones are for training.

    Attributes:
      truth: `[E]`, the right answer.
      told: `[E]`, what the texts of pre-training say.
      share: `[E]`, how often they do; else they name any answer.
    """

    truth: jax.Array
    told: jax.Array
    share: jax.Array

    @property
    def known(self) -> jax.Array:
        """`[E]` bool: told most of the time."""
        return self.share > 0.5


def known_or_not(key: jax.Array) -> Facts:
    """Each is known with probability ½: told in 95 of 100 texts, or in none."""
    for_truth, for_known = jax.random.split(key)
    truth = jax.random.randint(for_truth, (ENTITIES,), 0, ANSWERS)
    known = jax.random.bernoulli(for_known, 0.5, (ENTITIES,))
    return Facts(truth, truth, jnp.where(known, 0.95, 0.0))


def graded(key: jax.Array) -> Facts:
    """What is told in a share c of the texts is true with probability c.

    So a model that has learned its texts is right as often as it is confident, and
    whether it is in a single case cannot be known.
    """
    for_told, for_share, for_truth = jax.random.split(key, 3)
    shape = (GRADED_ENTITIES,)
    told = jax.random.randint(for_told, shape, 0, ANSWERS)
    share = jax.random.uniform(for_share, shape)
    facts = Facts(told, told, share)
    return facts._replace(truth=redrawn(for_truth, facts, jnp.arange(shape[0])))


def redrawn(key: jax.Array, facts: Facts, entities: jax.Array) -> jax.Array:
    """A truth for each: what is told, with the chance `share`, or any other answer."""
    for_truth, for_other = jax.random.split(key)
    told, chance = facts.told[entities], facts.share[entities]
    off = jax.random.randint(for_other, told.shape, 1, ANSWERS)
    true = jax.random.bernoulli(for_truth, chance)
    return jnp.where(true, told, (told + off) % ANSWERS)
