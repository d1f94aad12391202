"""Losses on K answers in packed rows, against each prompt alone in NumPy's float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.batch import Batch
from jaxalign.losses import (
    bco_unpaired_loss,
    infonca_loss,
    plackett_luce_dpo_loss,
)
from jaxalign.objectives import Backbone, Head, bind
from tests.rows import Prompted, packed_batch, random_examples

VOCAB, K = 9, 3
LAYOUT = [[0, 1], [2], [3], []]
COUNTS = [3, 2, 3, 3]
"""Answers to each prompt."""
BACKBONE = Backbone(
    lambda p, rows: p[rows.inputs], lambda p: Head(jnp.eye(VOCAB), None, VOCAB)
)


def make_examples(rng) -> list[Prompted]:
    whole = random_examples(rng, len(COUNTS), VOCAB, responses=K)
    return [Prompted(p, a[:k]) for (p, a), k in zip(whole, COUNTS, strict=True)]


def make_batch(examples, name, values, ref) -> Batch:
    """The answers in rows, with a label of each."""
    batch = packed_batch([[examples[i] for i in row] for row in LAYOUT], 60, 50, ref)
    given = np.zeros(batch.start.shape, np.float32)
    for r, row in enumerate(LAYOUT):
        for p, i in enumerate(row):
            n = min(len(values[i]), given.shape[-1])
            given[r, p, :n] = values[i][:n]
    return batch._replace(per_completion={name: jnp.asarray(given)})


def log_ratios(example, table, ref) -> list[float]:
    found = []
    for answer in example.responses:
        last, h = example.prompt[-1], 0.0
        for token in answer:
            z = table[last]
            h += z[token] - np.log(np.exp(z).sum()) - ref[token]
            last = token
        found.append(h)
    return found


def plackett_luce(h, rewards, beta):
    del rewards
    cost = 0.0
    for k in range(len(h)):
        cost -= beta * h[k] - np.log(sum(np.exp(beta * x) for x in h[k:]))
    return cost


def infonca(h, rewards, beta):
    wanted = np.exp(rewards) / np.exp(rewards).sum()
    scores = beta * np.array(h)
    return -(wanted * (scores - np.log(np.exp(scores).sum()))).sum()


@pytest.mark.parametrize(
    ("loss", "cost"), [(plackett_luce_dpo_loss, plackett_luce), (infonca_loss, infonca)]
)
def test_loss_and_gradient_of_packed_answers(loss, cost):
    rng = np.random.default_rng(1)
    examples = make_examples(rng)
    rewards = [sorted(rng.normal(size=k), reverse=True) for k in COUNTS]
    ref = np.log(rng.dirichlet(np.ones(VOCAB))).astype(np.float32)
    table, direction = rng.normal(size=(2, VOCAB, VOCAB))
    options: Any = {"beta": 0.3} | ({"alpha": 1.0} if loss is infonca_loss else {})
    objective = bind(loss, BACKBONE, chunk_size=8, **options)
    batch = make_batch(examples, "score", rewards, ref)

    def value(table):
        return objective(table, batch, jax.random.key(0)).loss.value

    def by_hand(table):
        return np.mean(
            [
                cost(log_ratios(x, table, ref), r, 0.3)
                for x, r in zip(examples, rewards, strict=True)
            ]
        )

    got, grad = jax.jit(jax.value_and_grad(value))(jnp.asarray(table, jnp.float32))
    np.testing.assert_allclose(got, by_hand(table), rtol=1e-5)
    step = 1e-5
    slope = by_hand(table + step * direction) - by_hand(table - step * direction)
    np.testing.assert_allclose(
        (np.asarray(grad) * direction).sum(), slope / (2 * step), rtol=1e-3
    )


def test_single_answers_and_a_shift_that_remembers():
    """BCO's δ is the mean reward of all answers, of this batch and the one before."""
    rng = np.random.default_rng(2)
    examples = [Prompted(p, a[:1]) for p, a in make_examples(rng)]
    good = [[1.0, 0, 0], [0.0, 0, 0], [0.0, 0, 0], [1.0, 0, 0]]
    ref = np.log(rng.dirichlet(np.ones(VOCAB))).astype(np.float32)
    tables = rng.normal(size=(2, VOCAB, VOCAB))
    objective = bind(bco_unpaired_loss, BACKBONE, beta=0.3)
    batch, key = make_batch(examples, "desirable", good, ref), jax.random.key(0)
    assert objective.measure is not None
    memory, seen = objective.carry, []
    for table in tables:
        params = jnp.asarray(table, jnp.float32)
        measured = objective.measure(params, batch, key)
        memory = objective.update_carry(memory, measured)
        got = objective.loss(params, batch, key, measured, memory).loss.value
        rewards = [0.3 * log_ratios(x, table, ref)[0] for x in examples]
        seen += rewards
        signs = [1 if x[0] else -1 for x in good]
        gains = np.array(signs) * (np.array(rewards) - np.mean(seen))
        np.testing.assert_allclose(got, np.log1p(np.exp(-gains)).mean(), rtol=1e-5)
