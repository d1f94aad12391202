"""One KTO step on packed rows, against loops over answers and tokens in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign.objectives import Backbone, Head, kto_objective
from jaxalign.training import TrainState, make_train_step
from tests.rows import packed_batch, random_examples

VOCAB = 11
WEIGHTS = {"desirable_weight": 1.5, "undesirable_weight": 0.5}
BETA = 0.3


def bigram(params, rows):
    return params[rows.inputs]


BACKBONE = Backbone(bigram, lambda params: Head(jnp.eye(VOCAB), None, VOCAB))


def setup(rng):
    """Rows of 1 or 2 answers, each beside another prompt's."""
    examples = random_examples(rng, 6, VOCAB, responses=2)
    wanted = rng.permutation([True, False] * 3)
    rows = [[0, 1], [2], [3, 4], [5]]
    table = rng.normal(size=(VOCAB, VOCAB)).astype(np.float32)
    ref = np.log(rng.dirichlet(np.ones(VOCAB))).astype(np.float32)
    batch = packed_batch([[examples[i] for i in row] for row in rows], 40, 30, ref)
    labels = np.zeros(batch.start.shape, np.float32)
    for r, row in enumerate(rows):
        labels[r, : len(row)] = wanted[row][:, None]
    batch = batch._replace(per_completion={"desirable": jnp.asarray(labels)})
    return examples, wanted, table, ref, batch


def log_ratio(table, ref, prompt, answer):
    """h(y) and its derivative by the table."""
    h, slope, last = 0.0, np.zeros((VOCAB, VOCAB)), prompt[-1]
    for token in answer:
        row = table[last].astype(np.float64)
        p = np.exp(row) / np.exp(row).sum()
        h += np.log(p[token]) - ref[token]
        slope[last] -= p
        slope[last, token] += 1
        last = token
    return h, slope


def in_numpy(examples, wanted, table, ref):
    others = [log_ratio(table, ref, x.prompt, x.responses[1])[0] for x in examples]
    z0 = max(0.0, sum(others) / len(others))
    loss, grad = 0.0, np.zeros((VOCAB, VOCAB))
    for x, good in zip(examples, wanted, strict=True):
        h, slope = log_ratio(table, ref, x.prompt, x.responses[0])
        sign = 1 if good else -1
        weight = WEIGHTS["desirable_weight" if good else "undesirable_weight"]
        s = 1 / (1 + np.exp(-sign * BETA * (h - z0)))
        loss += weight * (1 - s) / len(examples)
        grad -= weight * s * (1 - s) * sign * BETA * slope / len(examples)
    return z0, loss, grad


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_step(parts, seed):
    examples, wanted, table, ref, batch = setup(np.random.default_rng(seed))
    # So that z₀ lies above zero for one seed and is clamped for the other.
    ref = ref + np.float32(-2.0 if seed == 1 else 2.0)
    targets = np.asarray(batch.tokens.target_ids)
    known = np.where(batch.tokens.target_mask, ref[targets], 0)
    batch = batch.with_tokens(ref_logps=jnp.asarray(known))
    z0, loss, grad = in_numpy(examples, wanted, table, ref)
    assert (z0 > 0) == (seed == 1)
    objective = kto_objective(BACKBONE, chunk_size=8, beta=BETA, **WEIGHTS)
    optimizer = optax.sgd(1.0)
    step = jax.jit(make_train_step(objective, optimizer, num_microbatches=parts))
    state = TrainState.create(jnp.asarray(table), optimizer, jax.random.key(0))
    new, metrics = step(state, batch)
    np.testing.assert_allclose(metrics["kl"].value, z0, rtol=1e-5)
    np.testing.assert_allclose(metrics["loss"].value, loss, rtol=1e-5)
    np.testing.assert_allclose(table - new.params, grad, rtol=2e-4, atol=2e-6)
    assert metrics["rewards/chosen"].weight == metrics["rewards/rejected"].weight == 3
