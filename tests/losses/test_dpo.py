"""DPO against a plain NumPy version of the papers' formulas, and its identities."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.losses import Pair, dpo_loss, pairwise_logistic
from tests.losses.losses_under_test import pair_inputs


def rng():
    return np.random.default_rng(0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dpo_in_numpy(policy, ref, mask, beta, label_smoothing):
    """One pair at a time, one token at a time, in float64: loss and metrics."""
    rows = []
    for i in range(len(mask.chosen)):
        reward, logp = [0.0, 0.0], [0.0, 0.0]
        for side in (0, 1):
            for t in np.flatnonzero(mask[side][i]):
                logp[side] += float(policy[side][i, t])
                reward[side] += beta * (float(policy[side][i, t]) - ref[side][i, t])
        if not mask.chosen[i].any() or not mask.rejected[i].any():
            continue
        margin = reward[0] - reward[1]
        p = sigmoid(margin)
        loss = -(1 - label_smoothing) * np.log(p) - label_smoothing * np.log(1 - p)
        rows.append([loss, *reward, margin, margin > 0, *logp])
    names = ["loss", "rewards/chosen", "rewards/rejected", "rewards/margins"]
    names += ["rewards/accuracies", "logps/chosen", "logps/rejected"]
    return dict(zip(names, np.mean(rows, axis=0), strict=True))


@pytest.mark.parametrize("beta", [0.01, 0.5])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_matches_numpy(beta, label_smoothing):
    inputs = pair_inputs(rng(), 6, 5)
    inputs[2].chosen[1] = False  # not a pair: one side has no token
    inputs[2].rejected[4] = False
    loss = functools.partial(dpo_loss, beta=beta, label_smoothing=label_smoothing)
    out = jax.jit(loss)(*inputs)
    got = {name: mean.value for name, mean in out.metrics.items()}
    got["loss"] = out.loss.value
    expected = dpo_in_numpy(*inputs, beta, label_smoothing)
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-5, atol=1e-6)
    assert {float(m.weight) for m in (out.loss, *out.metrics.values())} == {4.0}


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_the_reference_as_policy_gives_log_two_and_no_reward(label_smoothing):
    policy, _, mask = pair_inputs(rng(), 6, 5)
    out = dpo_loss(policy, policy, mask, beta=0.7, label_smoothing=label_smoothing)
    np.testing.assert_allclose(out.loss.value, np.log(2), rtol=1e-6)
    rewards = ("rewards/chosen", "rewards/rejected", "rewards/margins")
    assert [float(out.metrics[name].total) for name in rewards] == [0, 0, 0]


def test_gradient_is_that_of_the_paper():
    """-beta sigma(r_rejected - r_chosen) for a chosen token, + for a rejected one."""
    policy, ref, mask = pair_inputs(rng(), 4, 5)
    beta = 0.3

    @jax.jit
    @jax.grad
    def gradient(policy):
        return dpo_loss(policy, ref, mask, beta=beta).loss.value

    grads = gradient(policy)
    for i in range(4):
        reward = [
            beta * np.sum((policy[s][i] - ref[s][i])[mask[s][i]], dtype=np.float64)
            for s in (0, 1)
        ]
        slope = -beta * sigmoid(reward[1] - reward[0]) / 4
        np.testing.assert_allclose(grads.chosen[i], slope * mask.chosen[i], rtol=1e-5)
        np.testing.assert_allclose(
            grads.rejected[i], -slope * mask.rejected[i], rtol=1e-5
        )


def test_smoothing_is_the_probability_of_a_swapped_pair():
    inputs = pair_inputs(rng(), 6, 5)
    swapped = [Pair(x.rejected, x.chosen) for x in inputs]
    as_is = dpo_loss(*inputs, label_smoothing=0.2).loss.value
    flipped: Any = np.float32(0.8)  # as a Python number it would be refused
    got = dpo_loss(*swapped, label_smoothing=flipped).loss.value
    np.testing.assert_allclose(got, as_is, rtol=1e-6)


def test_fault_26_chosen_answers_may_become_unlikely_while_the_loss_falls():
    """Taken for a bug by users: both sides are logged, and the docstring says so."""
    mask = Pair(*jnp.ones((2, 1, 3), bool))
    ref = Pair(*jnp.full((2, 1, 3), -1.0))
    policy = Pair(jnp.full((1, 3), -1.5), jnp.full((1, 3), -4.0))
    out = dpo_loss(policy, ref, mask)
    assert out.loss.value < np.log(2)
    assert out.metrics["logps/chosen"].value == -4.5
    assert out.metrics["logps/rejected"].value == -12
    assert out.metrics["rewards/chosen"].value < 0
    assert "`logps/chosen` may well fall" in (dpo_loss.__doc__ or "")


@pytest.mark.parametrize("margin", [-1e4, -100.0, 0.0, 100.0, 1e4])
def test_extreme_margins_stay_finite(margin):
    value, slope = jax.value_and_grad(pairwise_logistic)(jnp.float32(margin))
    expected = max(0.0, -margin) + np.log1p(np.exp(-abs(margin)))
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(slope, -1 / (1 + np.exp(min(margin, 700))), atol=1e-30)


def test_swapped_sides_are_refused_at_trace_time():
    policy, ref, mask = pair_inputs(rng(), 6, 5)
    with pytest.raises(UserError, match="has shape"):
        jax.eval_shape(dpo_loss, policy, Pair(ref.rejected, ref.chosen), mask)


def test_swapped_mask_and_reference_are_refused_at_trace_time():
    policy, ref, mask = pair_inputs(rng(), 6, 5)
    with pytest.raises(UserError, match="bool"):
        jax.eval_shape(dpo_loss, policy, mask, ref)
