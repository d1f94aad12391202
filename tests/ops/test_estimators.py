"""Aggregations, KL estimators, controllers and best-of-n against NumPy."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign.ops

ops: Any = jaxalign.ops


def values(seed=0) -> Any:
    rng = np.random.default_rng(seed)
    mask = rng.random((5, 6)) < 0.6
    mask[2] = False
    return rng.normal(size=(5, 6)).astype(np.float32), mask


def rows():
    x, mask = values()
    return [[float(x[i, t]) for t in np.flatnonzero(m)] for i, m in enumerate(mask)]


AGGREGATIONS = {
    "token_mean": (ops.token_mean, lambda r: np.mean(sum(r, []))),
    "sequence_mean": (ops.sequence_mean, lambda r: np.mean([*map(np.mean, r)])),
    "sequence_sum": (ops.sequence_sum, lambda r: np.mean([*map(np.sum, r)])),
    "fixed_length": (
        lambda x, mask: ops.fixed_length(x, mask, max_length=9),
        lambda r: np.mean([*map(np.sum, r)]) / 9,
    ),
}


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_each_aggregation_has_the_denominator_of_its_name(name):
    fn, expected = AGGREGATIONS[name]
    x, mask = values()
    x = np.where(mask, x, np.float32(np.nan))
    present = [row for row in rows() if row]
    np.testing.assert_allclose(fn(x, mask).value, expected(present), rtol=1e-5)
    halves = fn(x[:2], mask[:2]) + fn(x[2:], mask[2:])
    np.testing.assert_allclose(halves.value, fn(x, mask).value, rtol=1e-6)
    assert fn(x, mask & False).value == 0


def test_means_over_tokens_and_responses_agree_at_equal_lengths():
    """Identity 25."""
    x = values()[0]
    mask = np.ones_like(x, bool)
    one, other = ops.token_mean(x, mask).value, ops.sequence_mean(x, mask).value
    np.testing.assert_allclose(one, other, rtol=1e-5)


KL = {
    "kl_k1": (ops.kl_k1, lambda lr: lr, lambda lr: 1.0),
    "kl_k2": (ops.kl_k2, lambda lr: lr**2 / 2, lambda lr: lr),
    "kl_k3": (ops.kl_k3, lambda lr: np.exp(-lr) - 1 + lr, lambda lr: 1 - np.exp(-lr)),
    "kl_k3_k2": (ops.kl_k3_k2, lambda lr: np.exp(-lr) - 1 + lr, lambda lr: lr),
}


@pytest.mark.parametrize("name", KL)
def test_estimators_and_their_slopes_match_numpy(name):
    fn, value, slope = KL[name]
    logps, mask = values()
    ref = values(1)[0]
    dirty = np.where(mask, logps, np.float32(np.inf))
    got = fn(dirty, ref, mask)
    grad = jax.grad(lambda x: jnp.sum(fn(x, ref, mask)))(dirty)
    for i, t in np.ndindex(*mask.shape):
        lr = float(logps[i, t]) - float(ref[i, t])
        expected = (value(lr), slope(lr)) if mask[i, t] else (0, 0)
        np.testing.assert_allclose(
            (got[i, t], grad[i, t]), expected, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", KL)
@pytest.mark.parametrize("far", [-1e3, 1e3])
def test_estimators_are_finite_far_away_and_never_push_further(name, far):
    fn = KL[name][0]
    arrays = jnp.array([far]), jnp.array([0.0]), jnp.array([True])
    value, grad = jax.value_and_grad(lambda x: fn(x, *arrays[1:])[0])(arrays[0])
    assert np.isfinite(value)
    assert np.isfinite(grad).all()
    if name != "kl_k1":  # descent moves towards the reference or not at all
        assert grad[0] * far >= 0


def test_k3_is_never_negative_near_zero():
    lr = jnp.linspace(-1e-2, 1e-2, 1001)
    assert (ops.kl_k3(lr, jnp.zeros_like(lr), jnp.ones_like(lr, bool)) >= -1e-9).all()


def test_exact_kl():
    logits, ref = np.random.default_rng(0).normal(size=(2, 3, 4, 7)).astype(np.float32)
    p, q = (np.exp(np.float64(z)) for z in (logits, ref))
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    expected = np.sum(p * np.log(p / q), axis=-1)
    np.testing.assert_allclose(ops.kl_exact(logits, ref), expected, rtol=1e-4)
    assert not np.any(ops.kl_exact(logits, logits))


def test_the_adaptive_coefficient_rests_at_its_target_and_moves_by_a_fifth_at_most():
    """Identity 22."""
    options = {"target": 6.0, "horizon": 100, "num_episodes": 20}
    coef = jnp.float32(0.2)

    def after(kl):
        return ops.adaptive_kl_update(coef, jnp.float32(kl), **options) / coef

    np.testing.assert_allclose(after(6.0), 1)
    np.testing.assert_allclose(after(1e6), 1 + 0.2 * 20 / 100, rtol=1e-6)
    np.testing.assert_allclose(after(-1e6), 1 - 0.2 * 20 / 100, rtol=1e-6)
    np.testing.assert_allclose(after(6.6), 1 + 0.1 * 20 / 100, rtol=1e-5)
    assert ops.fixed_kl_update(coef, jnp.float32(1e6)) == coef


def test_the_entropy_coefficient_steps_towards_the_target_within_bounds():
    def after(coef, entropy):
        return ops.adaptive_entropy_update(
            jnp.float32(coef), jnp.float32(entropy), target=0.2, delta=0.1, highest=0.5
        )

    np.testing.assert_allclose(after(0.2, 0.1), 0.3, rtol=1e-6)
    np.testing.assert_allclose(after(0.2, 0.3), 0.1, rtol=1e-6)
    np.testing.assert_allclose(after(0.2, 0.2), 0.2, rtol=1e-6)
    np.testing.assert_allclose([after(0.0, 0.3), after(0.5, 0.1)], [0, 0.5], rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_expected_best_of_n_is_the_mean_over_all_subsets(n):
    rng = np.random.default_rng(0)
    scores, mask = rng.normal(size=(4, 6)).astype(np.float32), np.ones((4, 6), bool)
    mask[1, [0, 3]] = False
    scores[2, 1:3] = 0.5
    got = ops.expected_best_of_n(scores, mask, n=n)
    for value, s, m in zip(got, scores, mask, strict=True):
        subsets = [max(c) for c in itertools.combinations(s[m], n)]
        expected = np.mean(subsets) if subsets else np.nan
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_expected_best_of_many_does_not_overflow():
    """With binomials of 10,000 over 5,000 it would."""
    scores = jnp.linspace(0, 1, 10_000)
    got = ops.expected_best_of_n(scores, jnp.ones(10_000, bool), n=5_000)
    np.testing.assert_allclose(got, 1, atol=1e-3)


def test_best_of_n_takes_the_first_of_equals_and_no_absent_one():
    scores, mask = jnp.array([1.0, 3.0, 3.0, 9.0]), jnp.array([True, True, True, False])
    assert ops.best_of_n(scores, mask) == 1


def test_the_best_of_n_may_be_infinitely_bad():
    """But never absent; and a score that is never the best counts for nothing."""
    mask = jnp.array([False, True])
    assert ops.best_of_n(jnp.array([5.0, -jnp.inf]), mask) == 1
    there, scores = jnp.ones(3, bool), jnp.array([-jnp.inf, 1.0, 2.0])
    got = ops.expected_best_of_n(scores, there, n=2)
    np.testing.assert_allclose(got, 5 / 3, rtol=1e-6)
    assert ops.expected_best_of_n(scores, there, n=1) == -jnp.inf


def test_the_best_of_n_bound_is_reached_by_a_continuous_law_and_not_with_atoms():
    n = 4.0
    u = (np.arange(200_000) + 0.5) / 200_000
    continuous = np.mean(n * u ** (n - 1) * np.log(n * u ** (n - 1)))
    bound = float(ops.best_of_n_kl_bound(jnp.float32(n)))
    np.testing.assert_allclose(bound, continuous, rtol=1e-4)
    cdf = np.linspace(0, 1, 6)
    law = np.diff(cdf**n)
    assert np.sum(law * np.log(law * 5)) < bound - 0.01


def test_log_one_minus_exp():
    """Identity 17: both branches, their seam, and finite up to 0."""
    a = -np.geomspace(1e-5, 50, 200)
    exact = np.where(a > -0.5, np.log(-np.expm1(a)), np.log1p(-np.exp(a)))
    np.testing.assert_allclose(ops.log1mexp(np.float32(a)), exact, rtol=1e-4)
    value, slope = jax.value_and_grad(ops.log1mexp)(jnp.float32(0.0))
    assert np.isfinite(value)
    assert np.isfinite(slope)


def test_the_capped_exponential_stops_and_has_no_slope_there():
    value, slope = jax.vmap(jax.value_and_grad(ops.capped_exp))(
        jnp.array([-1e3, -1.0, 1.0, 1e3])
    )
    np.testing.assert_allclose(value, np.exp([-20, -1, 1, 20]), rtol=1e-5)
    np.testing.assert_allclose(slope, [0, np.exp(-1), np.exp(1), 0], rtol=1e-5)
