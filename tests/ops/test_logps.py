"""Token statistics from whole logits, against NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.ops import Mean, sequence_logps, token_logps, token_stats
from tests.ops.oracle import stats_in_numpy


def logits_and_targets(dtype: Any = np.float32, scale=3.0):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(scale * rng.normal(size=(2, 3, 7)), dtype)
    return logits, jnp.asarray(rng.integers(0, 7, size=(2, 3)), jnp.int32)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_matches_numpy(temperature, dtype):
    logits, targets = logits_and_targets(dtype)
    stats = jax.jit(token_stats, static_argnames="entropy")(
        logits, targets, temperature=temperature, entropy=True
    )
    expected = stats_in_numpy(np.asarray(logits), np.asarray(targets), temperature)
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(stats, name), value, rtol=1e-5, atol=1e-6)
    assert stats.logps.dtype == jnp.float32
    logps = token_logps(logits, targets, temperature=temperature)
    np.testing.assert_allclose(logps, expected["logps"], rtol=1e-5, atol=1e-6)


def test_the_gradient_is_that_of_softmax():
    logits, targets = logits_and_targets()
    got = jax.jit(jax.grad(lambda z: token_logps(z, targets).sum()))(logits)
    z = np.asarray(logits, np.float64)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    np.testing.assert_allclose(got, np.eye(7)[np.asarray(targets)] - p, atol=1e-6)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_extreme_logits_have_finite_values_and_gradients(size):
    logits, targets = logits_and_targets(scale=size)

    def everything(logits):
        stats = token_stats(logits, targets, entropy=True)
        assert stats.entropy is not None
        return stats.logps.sum() + stats.entropy.sum()

    value, grad = jax.jit(jax.value_and_grad(everything))(logits)
    assert np.isfinite(value)
    assert np.isfinite(grad).all()


def test_a_token_that_cannot_come_is_as_if_it_was_not_there():
    """Its logit is -inf; the oracle has no such token."""
    logits, targets = logits_and_targets()
    barred = jnp.concatenate([logits, jnp.full((2, 3, 1), -jnp.inf)], axis=-1)

    def entropy(z):
        found = token_stats(z, targets, entropy=True).entropy
        assert found is not None
        return found

    expected = stats_in_numpy(np.asarray(logits), np.asarray(targets))["entropy"]
    np.testing.assert_allclose(jax.jit(entropy)(barred), expected, rtol=1e-5)
    got = jax.jit(jax.grad(lambda z: entropy(z).sum()))(barred)
    z = np.asarray(logits, np.float64)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    slope = -p * (np.log(p) + expected[..., None])
    np.testing.assert_allclose(got[..., :-1], slope, atol=1e-6)
    assert not got[..., -1].any()


def test_float64_stays_float64():
    with jax.enable_x64(True):
        logits, targets = logits_and_targets(np.float64)
        got = token_logps(logits, targets)
        expected = stats_in_numpy(np.asarray(logits), np.asarray(targets))["logps"]
        np.testing.assert_allclose(got, expected, rtol=1e-14)
        assert Mean.of(got, where=jnp.ones_like(got, bool)).total.dtype == jnp.float64


def test_sequence_logps_sums_what_is_unmasked():
    logps = jnp.array([[-1.0, jnp.nan, -2.0], [jnp.inf, -4.0, jnp.nan]])
    mask = jnp.array([[True, False, True], [False, True, False]])
    np.testing.assert_array_equal(sequence_logps(logps, mask), [-3, -4])


@pytest.mark.parametrize("shape", [(2, 7), (7,), (3, 3, 7)])
def test_shapes_that_do_not_match_are_refused(shape):
    _, targets = logits_and_targets()
    with pytest.raises(UserError):
        token_stats(jnp.zeros(shape), targets)


def test_float_targets_are_refused():
    logits, targets = logits_and_targets()
    with pytest.raises(UserError, match="int"):
        token_stats(logits, targets.astype(jnp.float32))
