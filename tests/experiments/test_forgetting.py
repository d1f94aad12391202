"""E7: what is committed holds what it claims; the oracle is the nearest right law."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import mlp
from experiments.e07_forgetting.run import EXPERIMENT, at
from experiments.e07_forgetting.train import (
    CLASSES,
    INPUTS,
    History,
    Seed,
    Task,
    canonical,
    is_right,
    logps_of,
)
from experiments.runner import read_rows
from tests.experiments.quick import assert_twice_the_same

RESULTS = EXPERIMENT.folder / "results.csv"


def test_every_arm_has_three_keys():
    assert len(read_rows(RESULTS)) == 9


def test_five_classes_are_right():
    right = np.asarray(is_right(jnp.arange(10)))
    for label in range(CLASSES):
        assert [c for c in range(CLASSES) if right[label, c]] == [
            c for c in range(CLASSES) if (c - label) % 2 == 0
        ]


@pytest.fixture(scope="module")
def seed():
    key = jax.random.key(0)
    task = Task(jax.random.normal(key, (CLASSES, INPUTS)))
    return Seed(task, task, mlp.init(key, (INPUTS, 16, CLASSES)))


def test_the_oracle_asks_least_of_all_who_are_right(seed):
    """Σ p log p / base of any law on the right classes is at least −log base(right)."""
    x, label = seed.changed.draw(jax.random.key(2), 50)
    base, right = (
        np.exp(np.asarray(logps_of(seed.base, x))),
        np.asarray(is_right(label)),
    )
    allowed = np.where(right, base, 0)
    nearest = allowed / allowed.sum(1, keepdims=True)
    least = -np.log(allowed.sum(1))
    rng = np.random.default_rng(0)

    def divergence(law):
        return np.sum(
            np.where(right, law * np.log(np.maximum(law, 1e-30) / base), 0), 1
        )

    np.testing.assert_allclose(divergence(nearest), least, atol=1e-5)
    for _ in range(20):
        law = np.where(right, rng.dirichlet(np.ones(CLASSES), 50), 0)
        law /= law.sum(1, keepdims=True)
        assert (divergence(law) > least).all()


def test_canonical_labels_are_one_for_each_parity(seed):
    """Canonical SFT asks for class 0 or 1; one that says 0 to all is half wrong."""
    (hidden, (weights, biases)) = seed.base
    always_0 = [
        hidden,
        (0 * weights, biases + jnp.where(jnp.arange(CLASSES) == 0, 30.0, 0.0)),
    ]
    loss = float(jax.jit(canonical)(always_0, seed, jax.random.key(1)))
    # A cost of 30 for the odd clusters, about half of the 256 rows.
    assert 30 * 0.35 < loss < 30 * 0.65


def test_the_first_record_at_the_level_counts():
    curves = np.array([[0.5, 0.94, 0.96, 0.99], [1, 0.9, 0.8, 0.7], [0, 0.1, 0.2, 0.3]])
    assert at(History(*curves), 0.95) == {"step": 50.0, "kept": 0.8, "kl": 0.2}
    with pytest.raises(ValueError, match="not reached"):
        at(History(*curves), 0.999)


@pytest.mark.slow
def test_quick_run(tmp_path):
    assert len(assert_twice_the_same(EXPERIMENT, tmp_path)) == 3
