"""Weights and masks of off-policy tokens against NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxalign.losses
from tests.losses.policy_cases import rollout

losses: Any = jaxalign.losses

LOGPS, SAMPLER, ADVANTAGES, MASK = rollout(np.random.default_rng(1), 6, 5)
RATIOS = np.exp(LOGPS.astype(np.float64) - SAMPLER)


def test_truncated_weights():
    got = losses.truncated_importance_weights(LOGPS, SAMPLER, MASK, cap=1.1)
    np.testing.assert_allclose(got, np.minimum(RATIOS, 1.1) * MASK, rtol=1e-5)
    assert (RATIOS[MASK] > 1.1).any()


def test_masked_weights():
    got = losses.masked_importance_weights(LOGPS, SAMPLER, MASK, low=0.8, high=1.2)
    inside = (RATIOS >= 0.8) & (RATIOS <= 1.2) & MASK
    np.testing.assert_allclose(got, RATIOS * inside, rtol=1e-5)
    assert 0 < inside.sum() < MASK.sum()


def test_weights_of_responses():
    got = losses.sequence_importance_weights(LOGPS, SAMPLER, MASK, cap=1.2)
    for row, ratios, mask in zip(got, RATIOS, MASK, strict=True):
        expected = min(np.prod(ratios[mask]), 1.2)
        np.testing.assert_allclose(row, expected * mask, rtol=1e-5)


def test_weights_have_a_least_value_too():
    got = losses.truncated_importance_weights(LOGPS, SAMPLER, MASK, low=0.9, cap=1.1)
    np.testing.assert_allclose(got, np.clip(RATIOS, 0.9, 1.1) * MASK, rtol=1e-5)
    got = losses.sequence_importance_weights(LOGPS, SAMPLER, MASK, low=0.9, cap=1.1)
    for row, ratios, mask in zip(got, RATIOS, MASK, strict=True):
        expected = np.clip(np.prod(ratios[mask]), 0.9, 1.1)
        np.testing.assert_allclose(row, expected * mask, rtol=1e-5)


def test_responses_out_of_a_band_are_left_out_as_a_whole():
    got = losses.masked_sequence_importance_weights(
        LOGPS, SAMPLER, MASK, low=0.7, high=1.3
    )
    kept = 0
    for row, ratios, mask in zip(got, RATIOS, MASK, strict=True):
        whole = np.prod(ratios[mask])
        inside = 0.7 <= whole <= 1.3
        kept += inside
        np.testing.assert_allclose(row, whole * inside * mask, rtol=1e-5)
    assert 0 < kept < len(MASK)


def test_bad_responses_that_the_policy_has_left_are_dropped():
    got = losses.off_policy_mask(LOGPS, SAMPLER, ADVANTAGES, MASK, threshold=0.05)
    for row, ratios, a, mask in zip(got, RATIOS, ADVANTAGES, MASK, strict=True):
        dropped = a[mask].sum() < 0 and -np.log(ratios[mask]).mean() > 0.05
        np.testing.assert_array_equal(row, mask & (not dropped))
    assert 0 < np.sum(got) < MASK.sum()


def test_the_upper_fifth_of_entropies_is_kept():
    rng = np.random.default_rng(0)
    entropy, mask = rng.random((10, 20)).astype(np.float32), rng.random((10, 20)) < 0.5
    threshold = losses.entropy_threshold(entropy, mask, fraction=0.2)
    kept = np.asarray(losses.high_entropy_mask(entropy, mask, threshold))
    assert kept.sum() == np.ceil(0.2 * mask.sum())
    assert entropy[kept].min() > entropy[mask & ~kept].max()
    assert not losses.high_entropy_mask(entropy, mask & False, threshold).any()


def test_no_gradient_and_no_overflow():
    def total(logps):
        arrays = logps, SAMPLER, MASK
        weights = losses.truncated_importance_weights(*arrays)
        return jnp.sum(weights + losses.sequence_importance_weights(*arrays))

    for shift in (-1e3, 0.0, 1e3):
        value, grad = jax.value_and_grad(total)(LOGPS + np.float32(shift))
        assert np.isfinite(value)
        assert not grad.any()


def test_weights_that_switch_tokens_off_leave_the_denominator():
    keep = np.arange(5) < np.full((6, 1), 2)
    half = losses.dapo_loss(LOGPS, SAMPLER, ADVANTAGES, MASK, weights=keep)
    assert float(half.loss.weight) == MASK.sum()
    rest = losses.dapo_loss(LOGPS, SAMPLER, ADVANTAGES, MASK, weights=~keep)
    whole = losses.dapo_loss(LOGPS, SAMPLER, ADVANTAGES, MASK)
    np.testing.assert_allclose(
        half.loss.total + rest.loss.total, whole.loss.total, rtol=1e-5
    )
