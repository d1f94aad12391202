"""Faults that other libraries have had, each held off by a test that names it.

Numbers are those of the list of known faults. Those that concern every loss (padding
in metrics, overflow at log-ratios of a thousand, masks of the wrong type or shape) are
tests of the contract suite; leaks into GAE and faults of whitening are in `tests/ops`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign.losses
from jaxalign.errors import UserError
from jaxalign.ops import (
    group_advantages,
    kl_k1,
    kl_k2,
    kl_k3,
    kl_k3_k2,
    rloo_advantages,
)

losses: Any = jaxalign.losses

LENGTHS = np.array([1, 4])
MASK = np.arange(4) < LENGTHS[:, None]
ZEROS, ONES = np.zeros((2, 4), np.float32), np.ones((2, 4), np.float32)


def token_weights(loss, **options):
    """How much each token counts, relative to the first."""
    grad = jax.grad(lambda x: loss(x, ZEROS, ONES, MASK, **options).loss.value)(ZEROS)
    return np.asarray(grad / grad[0, 0])


def test_fault_3_each_name_has_the_length_bias_of_its_paper_and_no_other():
    per_response = MASK / LENGTHS[:, None]
    got = token_weights(losses.grpo_loss, beta=0.0)
    np.testing.assert_allclose(got, per_response, rtol=1e-6)
    for loss, options in (
        (losses.dapo_loss, {}),
        (losses.dr_grpo_loss, {"max_length": 4}),
        (losses.ppo_policy_loss, {}),
    ):
        np.testing.assert_allclose(token_weights(loss, **options), MASK, rtol=1e-6)


def test_fault_3_the_longest_length_and_not_the_batch_divides_in_dr_grpo():
    options = {"max_length": 8}
    one = losses.dr_grpo_loss(ZEROS[:1], ZEROS[:1], ONES[:1], MASK[:1], **options)
    both = losses.dr_grpo_loss(ZEROS, ZEROS, ONES, MASK, **options)
    np.testing.assert_allclose(one.loss.value, -1 / 8)
    np.testing.assert_allclose(both.loss.value, -5 / 8 / 2)


LOGITS = jnp.array([0.3, -1.0, 0.5, 0.1])
REF = jnp.array([0.9, 0.2, -0.4, 0.0])


def expected_gradient(estimator):
    """E over the policy's own tokens of the estimator's gradient, exactly."""
    probabilities = jax.lax.stop_gradient(jax.nn.softmax(LOGITS))

    def mean(logits):
        logp, logq = jax.nn.log_softmax(logits), jax.nn.log_softmax(REF)
        values = estimator(logp, logq, jnp.ones(4, bool))
        return jnp.sum(probabilities * values)

    return jax.grad(mean)(LOGITS)


def kl(logits, ref):
    logp, logq = jax.nn.log_softmax(logits), jax.nn.log_softmax(ref)
    return jnp.sum(jnp.exp(logp) * (logp - logq))


def test_fault_18_k1_in_a_loss_regularises_nothing():
    np.testing.assert_allclose(expected_gradient(kl_k1), jnp.zeros(4), atol=1e-7)


@pytest.mark.parametrize("estimator", [kl_k2, kl_k3_k2])
def test_fault_18_k2_has_the_gradient_of_kl(estimator):
    wanted = jax.grad(kl)(LOGITS, REF)
    np.testing.assert_allclose(expected_gradient(estimator), wanted, atol=1e-6)


def test_fault_18_k3_has_the_gradient_of_the_other_direction():
    wanted = jax.grad(lambda x: kl(REF, x))(LOGITS)
    np.testing.assert_allclose(expected_gradient(kl_k3), wanted, atol=1e-6)
    assert np.abs(wanted - jax.grad(kl)(LOGITS, REF)).max() > 0.05


def test_fault_20_groups_without_spread_teach_nothing_and_near_ones_do_not_explode():
    mask = jnp.ones((1, 4), bool)
    for advantages in (group_advantages, rloo_advantages):
        assert not advantages(jnp.full((1, 4), 0.1), mask).any()
        nearly = advantages(jnp.array([[0.1, 0.1, 0.1, 0.1 + 1e-6]]), mask)
        assert np.abs(nearly).max() < 0.05


def test_fault_21_ratios_of_long_responses_neither_overflow_nor_vanish():
    """4,000 tokens, each e times as likely as when it was sampled."""
    old = jnp.full((2, 4000), -2.0)
    mask, advantages = jnp.ones((2, 4000), bool), jnp.array([[1.0], [-1.0]])
    advantages = jnp.broadcast_to(advantages, mask.shape)
    for shift in (-1.0, 1.0):
        for loss in (losses.gspo_loss, losses.gspo_token_loss, losses.gmpo_loss):

            def value(logps, loss=loss):
                out = loss(logps, old, advantages, mask)
                return out.loss.value, out.metrics

            (total, metrics), grad = jax.value_and_grad(value, has_aux=True)(
                old + shift
            )
            assert np.isfinite(total)
            assert np.isfinite(grad).all()
            assert np.isfinite(metrics["val/ratio"].value)
            clipped = metrics["clip_ratio/region_mean"].value
            np.testing.assert_allclose(clipped, 0.5, rtol=1e-5)
        weights = losses.sequence_importance_weights(old + shift, old, mask)
        assert np.isfinite(weights).all()


@pytest.mark.parametrize("far", [-1e3, 1e3])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_fault_24_a_ratio_of_e_to_the_thousand_is_capped_and_counted(far, advantage):
    arrays = jnp.zeros((1, 1)), jnp.full((1, 1), advantage), jnp.ones((1, 1), bool)

    def value(logps):
        out = losses.ppo_policy_loss(logps, *arrays)
        return out.loss.value, out.metrics

    (loss, metrics), grad = jax.value_and_grad(value, has_aux=True)(
        jnp.full((1, 1), far)
    )
    assert np.isfinite(loss)
    assert grad[0, 0] == 0
    assert metrics["policy/ratio_capped"].value == 1


def test_fault_25_a_mask_shifted_in_the_place_of_an_array_is_refused():
    with pytest.raises(UserError, match="bool"):
        losses.ppo_policy_loss(ZEROS, ZEROS, MASK, ONES)
    with pytest.raises(UserError, match="shape"):
        losses.ppo_policy_loss(ZEROS, ZEROS, ONES, MASK[:, 1:])
    with pytest.raises(UserError, match="shape"):
        losses.reinforce_loss(ZEROS, ONES, MASK)
