"""Losses on K answers in packed rows, against each prompt alone in NumPy's float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.losses import infonca_loss, plackett_luce_dpo_loss
from jaxalign.objectives import Backbone, Head, RankedBatch, packed_ranked_objective
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


def make_batch(examples, rewards, ref) -> RankedBatch:
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
    return RankedBatch(rows, *arrays, target_ref_logps=ref_logps)


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
    objective = packed_ranked_objective(loss, BACKBONE, chunk_size=8, **options)
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
