"""KTO on single responses: formula, reference point, and the faults of others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.errors import UserError
from jaxalign.losses import kto_reference_point
from tests.losses.losses_under_test import lengths_to_mask, logps

kto_loss: Any = losses.kto_loss  # NumPy arrays serve as well
OPTIONS = {"beta": 0.3, "desirable_weight": 1.2, "undesirable_weight": 0.7}


def responses(n=7, t=5, seed=0) -> Any:
    rng = np.random.default_rng(seed)
    mask = lengths_to_mask(rng, n, t)
    return logps(rng, n, t), logps(rng, n, t), mask, rng.random(n) < 0.5


def log_ratio_in_numpy(policy, ref, mask, i):
    return sum(float(policy[i, t]) - float(ref[i, t]) for t in np.flatnonzero(mask[i]))


def kto_in_numpy(policy, ref, mask, desirable, z0):
    """Value function by value function, as the paper writes it: lambda - v."""
    costs = []
    for i in range(len(mask)):
        if not mask[i].any():
            continue
        h = log_ratio_in_numpy(policy, ref, mask, i)
        gap = h - z0 if desirable[i] else z0 - h
        weight = OPTIONS["desirable_weight" if desirable[i] else "undesirable_weight"]
        costs.append(weight - weight / (1 + np.exp(-OPTIONS["beta"] * gap)))
    return np.mean(costs)


@pytest.mark.parametrize("z0", [0.0, 1.7])
def test_matches_numpy(z0):
    policy, ref, mask, desirable = responses()
    mask[3] = False
    out = kto_loss(policy, ref, mask, desirable, jnp.float32(z0), **OPTIONS)
    expected = kto_in_numpy(policy, ref, mask, desirable, z0)
    np.testing.assert_allclose(out.loss.value, expected, rtol=1e-5)
    assert out.loss.weight == 6
    np.testing.assert_allclose(out.metrics["kl"].value, z0, rtol=1e-6)
    good = desirable & mask.any(-1)
    rewards = [0.3 * log_ratio_in_numpy(policy, ref, mask, i) for i in range(7)]
    chosen, rejected = (out.metrics[f"rewards/{x}"] for x in ("chosen", "rejected"))
    np.testing.assert_allclose(chosen.total, np.sum(rewards, where=good), rtol=1e-5)
    assert float(chosen.weight) == good.sum()
    assert float(rejected.weight) == 6 - good.sum()


def test_a_negative_reference_point_counts_as_zero_and_gets_no_gradient():
    inputs = responses()

    def value(z0):
        return kto_loss(*inputs, z0, **OPTIONS).loss.value

    assert value(jnp.float32(-3)) == value(jnp.float32(0))
    assert jax.grad(value)(jnp.float32(2)) == 0


def test_the_reference_as_policy_gives_half_the_weight():
    policy, _, mask, _ = responses()
    for good, weight in ((True, 1.2), (False, 0.7)):
        labels = np.full(7, good)
        out = kto_loss(policy, policy, mask, labels, jnp.float32(0), **OPTIONS)
        np.testing.assert_allclose(out.loss.value, weight / 2, rtol=1e-6)


@pytest.mark.parametrize("good", [True, False])
def test_a_batch_of_one_kind_is_finite(good):
    """Fault 19."""
    policy, ref, mask, _ = responses()

    def value(policy):
        others = (jnp.roll(x, -1, axis=0) for x in (policy, ref, mask))
        z0 = kto_reference_point(*others).value
        return kto_loss(policy, ref, mask, np.full(7, good), z0).loss.value

    loss, grads = jax.value_and_grad(value)(jnp.asarray(policy))
    assert np.isfinite(loss)
    assert np.all(np.isfinite(grads))
    assert np.any(grads != 0)


def test_reference_point_is_the_mean_log_ratio_and_adds_up():
    policy, ref, mask, _ = responses(6)
    mask[2] = False
    whole = kto_reference_point(policy, ref, mask)
    h = [log_ratio_in_numpy(policy, ref, mask, i) for i in (0, 1, 3, 4, 5)]
    np.testing.assert_allclose(whole.value, np.mean(h), rtol=1e-5)
    parts = [kto_reference_point(policy[s], ref[s], mask[s]) for s in _thirds(6)]
    np.testing.assert_allclose((parts[0] + parts[1] + parts[2]).value, whole.value)
    grads = jax.grad(lambda p: kto_reference_point(p, ref, mask).total)(policy)
    assert not np.any(grads)


def _thirds(n):
    return [slice(i, i + n // 3) for i in range(0, n, n // 3)]


def test_split_batch_with_the_global_reference_point_gives_the_same_gradient():
    """Fault 19: a reference point for each part of the batch."""
    policy, ref, mask, desirable = responses(6)
    z0 = jnp.float32(0.9)

    def total(policy, rows):
        loss = kto_loss(policy[rows], ref[rows], mask[rows], desirable[rows], z0).loss
        return loss.total, loss.weight

    grad: Any = jax.grad(total, has_aux=True)
    whole, count = grad(jnp.asarray(policy), slice(0, 6))
    parts = [grad(jnp.asarray(policy), rows) for rows in _thirds(6)]
    np.testing.assert_allclose(sum(g for g, _ in parts), whole, rtol=1e-6)
    assert sum(n for _, n in parts) == count


@pytest.mark.parametrize("h", [-1e3, 1e3])
def test_extreme_log_ratios_are_finite(h):
    zeros, mask = jnp.zeros((2, 1)), jnp.ones((2, 1), bool)
    labels = jnp.array([True, False])

    def value(policy):
        return kto_loss(policy, zeros, mask, labels, jnp.float32(1)).loss.value

    loss, grads = jax.value_and_grad(value)(zeros + h)
    assert np.isfinite(loss)
    assert np.all(np.isfinite(grads))


def test_labels_and_reference_point_are_checked_while_tracing():
    policy, ref, mask, desirable = responses()
    z0 = jnp.float32(0)
    with pytest.raises(UserError, match="bool"):
        jax.eval_shape(kto_loss, policy, ref, mask, desirable.astype(np.float32), z0)
    with pytest.raises(UserError, match="shape"):
        jax.eval_shape(kto_loss, policy, ref, mask, desirable[:-1], z0)
    with pytest.raises(UserError, match="shape"):
        jax.eval_shape(kto_loss, policy, ref, mask, desirable, np.zeros(3, np.float32))
