"""Distillation on packed rows: loops in float64 over answers, tokens and words."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxalign.objectives import Backbone, Head, distillation_objective
from jaxalign.training import TrainState, make_train_step
from tests.rows import packed_batch, random_examples

VOCAB = 7
TEMPERATURE = 1.3


def backbone(padding: int) -> Backbone:
    """Bigram logits; some rows of the unembedding are no token."""
    kernel = jnp.concatenate([jnp.eye(VOCAB), jnp.ones((padding, VOCAB))])
    return Backbone(lambda p, rows: p[rows.inputs], lambda p: Head(kernel, None, VOCAB))


def setup():
    rng = np.random.default_rng(0)
    examples = random_examples(rng, 6, VOCAB, responses=1)
    layout = [0, 1], [2], [3, 4, 5], []
    batch = packed_batch([[examples[i] for i in row] for row in layout], 40, 30)
    tables = rng.normal(size=(2, VOCAB, VOCAB)).astype(np.float32)
    return examples, batch, *tables


def in_numpy(examples, student, teacher, beta):
    """The paper's formula, one word at a time."""
    total = 0.0
    for prompt, (answer,) in examples:
        last, sum_of_tokens = prompt[-1], 0.0
        for token in answer:
            z = [
                np.exp(x[last].astype(np.float64) / TEMPERATURE)
                for x in (teacher, student)
            ]
            p, q = (x / x.sum() for x in z)
            for v in range(VOCAB):
                if beta == 0:
                    sum_of_tokens += p[v] * np.log(p[v] / q[v])
                elif beta == 1:
                    sum_of_tokens += q[v] * np.log(q[v] / p[v])
                else:
                    m = beta * p[v] + (1 - beta) * q[v]
                    sum_of_tokens += beta * p[v] * np.log(p[v] / m)
                    sum_of_tokens += (1 - beta) * q[v] * np.log(q[v] / m)
            last = token
        total += sum_of_tokens / len(answer)
    return total / len(examples)


def objective(beta):
    return distillation_objective(
        backbone(2), backbone(5), beta=beta, temperature=TEMPERATURE, chunk_size=8
    )


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_one_step(beta):
    """By central differences of the oracle, for some entries of the table."""
    examples, batch, student, teacher = setup()

    def alone(params, batch, key):
        return objective(beta)((params, jnp.asarray(teacher)), batch, key)

    optimizer = optax.sgd(1.0)
    step = jax.jit(make_train_step(alone, optimizer, num_microbatches=2))
    state = TrainState.create(jnp.asarray(student), optimizer, jax.random.key(0))
    new, metrics = step(state, batch)
    expected = in_numpy(examples, student, teacher, beta)
    np.testing.assert_allclose(metrics["loss"].value, expected, rtol=1e-5)
    assert metrics["loss"].weight == pytest.approx(len(examples))
    slopes = student - np.asarray(new.params)
    rng, eps = np.random.default_rng(1), 1e-4
    for i, j in rng.integers(0, VOCAB, size=(8, 2)):
        up, down = (student.astype(np.float64) for _ in range(2))
        up[i, j] += eps
        down[i, j] -= eps
        values = [in_numpy(examples, x, teacher, beta) for x in (up, down)]
        slope = (values[0] - values[1]) / (2 * eps)
        np.testing.assert_allclose(slopes[i, j], slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("beta", "end", "scale"), [(1e-3, 0.0, 1e-3), (0.999, 1.0, 1e-3)]
)
def test_near_its_ends_the_divergence_is_a_share_of_a_kl(beta, end, scale):
    _, batch, *tables = setup()
    params = tuple(map(jnp.asarray, tables))
    near, at = (
        objective(x)(params, batch, jax.random.key(0)).loss.value for x in (beta, end)
    )
    np.testing.assert_allclose(near / scale, at, rtol=1e-2)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="beta must be in"):
        objective(1.5)


def test_the_teacher_gets_no_gradient():
    _, batch, *tables = setup()

    def value(params):
        return objective(0.5)(params, batch, jax.random.key(0)).loss.value

    mine, theirs = jax.grad(value)(tuple(map(jnp.asarray, tables)))
    assert np.any(mine)
    assert not np.any(theirs)
