"""Further baselines against loops, and what makes each of them the best of its kind."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.ops import (
    Moments,
    batch_scaled_advantages,
    decoupled_group_advantages,
    length_weighted_advantages,
    optimal_token_advantages,
    token_energies,
    token_stats,
)


def groups(*more) -> Any:
    """Rewards `[6, 4, ...]` and who is there; a group of one and one of none."""
    rng = np.random.default_rng(0)
    mask = rng.random((6, 4)) < 0.8
    mask[0] = [True, False, False, False]
    mask[1] = False
    return rng.normal(size=(6, 4, *more)).astype(np.float32), mask


def test_scaled_by_the_deviation_of_the_batch():
    rewards, mask = groups()
    std = np.std(rewards[mask].astype(float), ddof=1)
    expected = np.zeros(mask.shape)
    for i, row in enumerate(mask):
        if row.any():
            expected[i, row] = (rewards[i, row] - rewards[i, row].mean()) / (std + 0.1)
    got = batch_scaled_advantages(rewards, mask, eps=0.1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_parts_of_a_batch_are_scaled_alike():
    rewards, mask = groups()
    whole = batch_scaled_advantages(rewards, mask)
    moments = Moments.of(rewards[:2], where=mask[:2])
    moments += Moments.of(rewards[2:], where=mask[2:])
    parts = [
        batch_scaled_advantages(rewards[s], mask[s], moments=moments)
        for s in (slice(0, 2), slice(2, 6))
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-5, atol=1e-7)


def test_a_batch_without_any_difference_is_zero():
    rewards, mask = jnp.full((3, 3), 0.1), jnp.ones((3, 3), bool)
    assert not batch_scaled_advantages(rewards, mask, eps=0.0).any()


def test_long_responses_weigh_more_in_the_baseline():
    rewards, mask = groups()
    lengths = np.random.default_rng(1).integers(1, 9, mask.shape)
    got = np.asarray(length_weighted_advantages(rewards, lengths, mask))
    for i, row in enumerate(mask):
        if row.any():
            mean = np.average(rewards[i, row].astype(float), weights=lengths[i, row])
            np.testing.assert_allclose(got[i, row], rewards[i, row] - mean, rtol=1e-4)
    assert not got[~mask].any()
    # The baseline of least Σ |y| A², the variance where gradients grow with length.
    np.testing.assert_allclose((lengths * got).sum(-1), 0, atol=1e-5)
    there = jnp.ones((1, 3), bool)
    equal = length_weighted_advantages(jnp.full((1, 3), 0.1), lengths[:1, :3], there)
    assert not equal.any()


def test_each_reward_in_units_of_its_own_deviation():
    rewards, mask = groups(3)
    rewards[..., 1] *= 1000
    weights = np.array([1.0, 0.5, 2.0], np.float32)
    summed = np.zeros(mask.shape)
    for i, row in enumerate(mask):
        for n in range(3):
            r = rewards[i, row, n].astype(float)
            if len(r) > 1:
                summed[i, row] += weights[n] * (r - r.mean()) / (r.std(ddof=1) + 1e-4)
    inside = summed[mask]
    expected = np.where(mask, (summed - inside.mean()) / inside.std(), 0)
    got = decoupled_group_advantages(rewards, mask, weights=jnp.asarray(weights))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    plain = decoupled_group_advantages(rewards, mask)
    ones = decoupled_group_advantages(rewards, mask, weights=jnp.ones(3))
    np.testing.assert_allclose(plain, ones, rtol=1e-5, atol=1e-6)


def test_the_baseline_of_least_variance_at_each_token():
    rng = np.random.default_rng(0)
    returns, energies = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    energies = abs(energies)
    mask = np.arange(5) < rng.integers(1, 6, (3, 4, 1))
    mask[0, 1:] = False
    got = np.asarray(optimal_token_advantages(returns, energies, jnp.asarray(mask)))
    for i in range(3):
        for t in range(5):
            there = [k for k in range(4) if mask[i, k, t]]
            w = [energies[i, k, : t + 1][mask[i, k, : t + 1]].sum() for k in there]
            g = returns[i, there, t].astype(float)
            baseline = np.average(g, weights=w) if there else 0.0
            np.testing.assert_allclose(got[i, there, t], g - baseline, atol=1e-5)
    assert not got[~mask].any()
    np.testing.assert_allclose(got[0], 0, atol=1e-6)


def test_the_energy_of_a_token_is_the_squared_gradient_of_its_logits():
    logits = jax.random.normal(jax.random.key(0), (4, 7))
    targets = jnp.array([0, 3, 6, 2])

    def logp(z):
        return jnp.sum(token_stats(z, targets).logps)

    squares = jnp.sum(jnp.square(jax.grad(logp)(logits)), axis=-1)
    log_squares = jax.nn.logsumexp(2 * jax.nn.log_softmax(logits), axis=-1)
    got = token_energies(token_stats(logits, targets).logps, log_squares)
    np.testing.assert_allclose(got, squares, rtol=1e-5)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x, m: batch_scaled_advantages(x, m),
        lambda x, m: length_weighted_advantages(x, x, m),
        lambda x, m: decoupled_group_advantages(x[..., None], m),
    ],
)
def test_a_group_of_one_and_other_shapes_are_refused_and_nothing_has_a_gradient(fn):
    x, mask = jnp.ones((3, 4)).at[0].set(2.0), jnp.ones((3, 4), bool)
    assert not jax.grad(lambda x: jnp.sum(fn(x, mask) ** 2))(x).any()
    with pytest.raises(UserError, match="two responses or more"):
        fn(x[:, :1], mask[:, :1])
    with pytest.raises(UserError, match=r"expected \[\.\.\., K"):
        fn(x, mask[:2])
