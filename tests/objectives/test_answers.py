"""Losses on K answers in packed rows, against each prompt alone in NumPy's float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.losses import (
    TwoPass,
    bco_unpaired_loss,
    infonca_loss,
    plackett_luce_dpo_loss,
)
from jaxalign.objectives import AnswerBatch, Backbone, Head, packed_answers_objective
from tests.rows import Prompted, random_examples, token_batch

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


def make_batch(examples, rewards, ref) -> AnswerBatch:
    most = max(map(len, LAYOUT))
    start, length = np.zeros((2, len(LAYOUT), most, K), np.int32)
    given = np.zeros((len(LAYOUT), most, K), np.float32)
    for r, row in enumerate(LAYOUT):
        m = 0
        for p, i in enumerate(row):
            for k, answer in enumerate(examples[i].responses):
                start[r, p, k], length[r, p, k] = m, len(answer)
                given[r, p, k] = rewards[i][k]
                m += len(answer)
    rows = token_batch([[examples[i] for i in row] for row in LAYOUT], 60, 50)
    ref_logps = jnp.where(rows.target_mask, ref[np.asarray(rows.target_ids)], 0)
    arrays = (jnp.asarray(x) for x in (start, length, given))
    return AnswerBatch(rows, *arrays, target_ref_logps=ref_logps)


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
    options = {"beta": 0.3} | ({"alpha": 1.0} if loss is infonca_loss else {})
    objective = packed_answers_objective(loss, BACKBONE, chunk_size=8, **options)
    batch = make_batch(examples, rewards, ref)

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
    objective = packed_answers_objective(bco_unpaired_loss, BACKBONE, beta=0.3)
    assert isinstance(objective, TwoPass)
    batch, key = make_batch(examples, good, ref), jax.random.key(0)
    memory, seen = objective.memory, []
    for table in tables:
        params = jnp.asarray(table, jnp.float32)
        measured = objective.measure(params, batch, key)
        memory = objective.remember(memory, measured)
        got = objective.loss(params, batch, key, measured, memory).loss.value
        rewards = [0.3 * log_ratios(x, table, ref)[0] for x in examples]
        seen += rewards
        signs = [1 if x[0] else -1 for x in good]
        gains = np.array(signs) * (np.array(rewards) - np.mean(seen))
        np.testing.assert_allclose(got, np.log1p(np.exp(-gains)).mean(), rtol=1e-5)
