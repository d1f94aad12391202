"""Reliability bins against loops."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.ops import (
    auroc,
    bootstrap_statistic,
    brier_score,
    equal_mass_bins,
    equal_width_bins,
    expected_calibration_error,
    reliability,
    risk_coverage,
)


def error_in_loops(margins, num_bins):
    bins = [[] for _ in range(num_bins)]
    for m in margins:
        confidence = 1 / (1 + np.exp(-abs(float(m))))
        at = min(int((confidence - 0.5) / 0.5 * num_bins), num_bins - 1)
        bins[at].append((confidence, 0.5 if m == 0 else float(m > 0)))
    n = len(margins)
    gaps = [
        abs(np.mean([c for c, _ in b]) - np.mean([a for _, a in b])) for b in bins if b
    ]
    return sum(
        len(b) / n * g for b, g in zip([b for b in bins if b], gaps, strict=True)
    )


def test_the_error_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    margins = (2 * rng.normal(size=(20, 5)) + 0.5).astype(np.float32)
    margins[0, 0] = 0
    where = rng.random((20, 5)) < 0.7
    where[0, 0] = True
    given = jnp.asarray(np.where(where, margins, np.nan))
    for num_bins in (1, 4, 10):
        bins = reliability(given, jnp.asarray(where), num_bins=num_bins)
        assert float(bins.count.sum()) == where.sum()
        expected = error_in_loops(margins[where], num_bins)
        np.testing.assert_allclose(
            expected_calibration_error(bins), expected, rtol=1e-5
        )


def test_a_model_that_is_as_sure_as_it_is_right_has_no_error():
    margin = np.log(3.0, dtype=np.float32)  # 3 to 1
    margins = jnp.array([margin, margin, margin, -margin])
    bins = reliability(margins, jnp.ones(4, bool))
    np.testing.assert_allclose(expected_calibration_error(bins), 0, atol=1e-6)
    nothing = reliability(margins, jnp.zeros(4, bool))
    assert expected_calibration_error(nothing) == 0


def test_certainty_falls_into_the_last_bin():
    bins = reliability(jnp.array([1e4, -1e4]), jnp.ones(2, bool), num_bins=4)
    assert bins.count.tolist() == [0, 0, 0, 2]
    assert bins.correct.tolist() == [0, 0, 0, 1]


def predictions(seed, shape=(6, 7)):
    """Stated probabilities, many of them equal, what was right, and what counts."""
    rng = np.random.default_rng(seed)
    confidence = rng.integers(0, 8, shape).astype(np.float32) / 7
    correct = rng.random(shape) < 0.2 + 0.6 * confidence
    where = rng.random(shape) < 0.8
    given = np.where(where, confidence, np.nan)
    arrays = [jnp.asarray(x) for x in (given, correct, where)]
    return arrays, confidence[where].astype(float), correct[where]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_bins", [1, 5, 10])
def test_equal_width_and_brier_in_loops(seed, num_bins):
    arrays, confidence, correct = predictions(seed)
    bins = [[] for _ in range(num_bins)]
    for q, right in zip(confidence, correct, strict=True):
        bins[min(int(np.float32(q) * np.float32(num_bins)), num_bins - 1)].append(
            (q, right)
        )
    n = len(correct)
    expected = sum(abs(sum(y - q for q, y in b)) / n for b in bins)
    found = equal_width_bins(*arrays, num_bins=num_bins)
    assert found.count.tolist() == [len(b) for b in bins]
    np.testing.assert_allclose(expected_calibration_error(found), expected, rtol=1e-5)
    brier = sum((q - y) ** 2 for q, y in zip(confidence, correct, strict=True)) / n
    np.testing.assert_allclose(brier_score(*arrays).value, brier, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_equal_mass_is_the_mean_over_orders_of_equals(seed):
    arrays, confidence, correct = predictions(seed)
    num_bins, n = 4, len(correct)
    index = np.arange(n) * num_bins // n
    rng, sums = np.random.default_rng(seed), []
    for _ in range(4000):
        shuffled = rng.permutation(n)
        order = shuffled[np.argsort(confidence[shuffled], kind="stable")]
        sums.append([correct[order][index == b].sum() for b in range(num_bins)])
    found = equal_mass_bins(*arrays, num_bins=num_bins)
    assert found.count.tolist() == np.bincount(index).tolist()
    in_order = np.sort(confidence)
    np.testing.assert_allclose(
        found.confidence, [in_order[index == b].sum() for b in range(num_bins)], 1e-5
    )
    np.testing.assert_allclose(found.correct, np.mean(sums, 0), atol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_auroc_counts_pairs(seed):
    arrays, confidence, correct = predictions(seed)
    pairs = list(itertools.product(confidence[correct], confidence[~correct]))
    expected = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    np.testing.assert_allclose(auroc(*arrays), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(auroc)(*arrays), expected, rtol=1e-5)
    confidence, correct, where = arrays
    assert np.isnan(auroc(confidence, jnp.ones_like(correct), where))
    assert np.isnan(auroc(confidence, correct, jnp.zeros_like(where)))


@pytest.mark.parametrize("n", [100_000, 140_000])
def test_auroc_of_more_pairs_than_int32_can_count(n):
    # Arrays of JAX: NumPy would count in int64.
    right = jnp.arange(n) >= n // 2
    everything: Any = right, right | True
    confidence = jnp.linspace(0, 1, n)
    assert float(auroc(confidence, *everything)) == pytest.approx(1, abs=1e-5)
    flat = jnp.full(n, 0.5)
    assert float(auroc(flat, *everything)) == pytest.approx(0.5, abs=1e-5)


def test_risk_and_coverage_is_the_mean_over_all_orders_of_equals():
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.1, 0.7])
    correct = np.array([True, False, True, False, False, True])
    curves = []
    for order in itertools.permutations(range(6)):
        kept = sorted(order, key=lambda i: -confidence[i])  # stable
        wrong = np.cumsum(~correct[list(kept)])
        curves.append(wrong / np.arange(1, 7))
    expected = np.mean(curves, 0)
    padded = [np.append(confidence, np.nan), np.append(correct, True)]
    where = jnp.arange(7) < 6
    found = risk_coverage(jnp.float32(padded[0]), jnp.asarray(padded[1]), where)
    np.testing.assert_allclose(found.risk[:6], expected, rtol=1e-5)
    np.testing.assert_allclose(found.area, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(found.coverage, [*np.arange(1, 7) / 6, 1.0], rtol=1e-6)


def test_the_interval_of_a_statistic():
    rng = np.random.default_rng(0)
    confidence = jnp.asarray(rng.random(200), jnp.float32)
    correct = jnp.asarray(rng.random(200) < np.asarray(confidence))
    where = jnp.ones(200, bool)

    def statistic(q, right):
        return auroc(q, right, where)

    key = jax.random.key(1)
    low, high = bootstrap_statistic(
        statistic, confidence, correct, key=key, num_resamples=200
    )
    drawn = []
    for _ in range(500):
        i = rng.integers(0, 200, 200)
        q, y = np.asarray(confidence)[i], np.asarray(correct)[i]
        drawn.append(np.mean(q[y][:, None] > q[~y][None]))
    np.testing.assert_allclose(
        [low, high], np.quantile(drawn, [0.025, 0.975]), atol=0.02
    )
    assert low < auroc(confidence, correct, where) < high
