"""Bootstrap intervals against the delta method's, in NumPy and float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.ops import bootstrap_interval

RNG = np.random.default_rng(0)
INTERVAL = jax.jit(bootstrap_interval, static_argnames=("level", "num_resamples"))


@pytest.mark.parametrize(("level", "deviations"), [(0.95, 1.96), (0.68, 0.9945)])
def test_width_is_that_of_a_ratio_of_sums(level, deviations):
    weights = RNG.integers(1, 30, size=400).astype(float)
    totals = weights * RNG.normal(2.0, 1.0, size=400)
    ratio = totals.sum() / weights.sum()
    error = np.sqrt(np.sum((totals - ratio * weights) ** 2)) / weights.sum()
    arrays = (jnp.asarray(x, jnp.float32) for x in (totals, weights))
    low, high = INTERVAL(*arrays, jax.random.key(0), level=level, num_resamples=4000)
    assert low == pytest.approx(ratio - deviations * error, abs=0.15 * error)
    assert high == pytest.approx(ratio + deviations * error, abs=0.15 * error)


def test_the_key_decides():
    x, ones = jnp.asarray(RNG.normal(size=20), jnp.float32), jnp.ones(20)
    draw = functools.partial(INTERVAL, x, ones, num_resamples=100)
    first, again, other = (draw(jax.random.key(i)) for i in (1, 1, 2))
    assert [float(v) for v in first] == [float(v) for v in again]
    assert [float(v) for v in first] != [float(v) for v in other]


def test_one_example_and_examples_that_do_not_count():
    key = jax.random.key(0)
    low, high = INTERVAL(jnp.array([6.0]), jnp.array([2.0]), key, num_resamples=100)
    assert (low, high) == (3.0, 3.0)
    totals, weights = jnp.array([0.0, 6.0]), jnp.array([0.0, 2.0])
    low, high = INTERVAL(totals, weights, key, num_resamples=100)
    assert (low, high) == (3.0, 3.0)
