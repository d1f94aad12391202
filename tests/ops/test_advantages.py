"""Advantages of groups and batches, and whitening, against NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxalign.ops import (
    Mean,
    Moments,
    batch_baseline_advantages,
    centered_group_advantages,
    greedy_baseline_advantages,
    group_advantages,
    masked_rescale,
    masked_whiten,
    moving_baseline,
    reinforce_pp_advantages,
    rloo_advantages,
)
from tests.ways import MESH


def groups(seed=0, n=6, k=4) -> Any:
    rng = np.random.default_rng(seed)
    mask = rng.random((n, k)) < 0.8
    mask[0] = [True, False, False, False]
    mask[1] = False
    return rng.normal(size=(n, k)).astype(np.float32), mask


def by_group(one):
    rewards, mask = groups()
    expected = np.zeros(mask.shape)
    for i, row in enumerate(mask):
        at = np.flatnonzero(row)
        expected[i, at] = one(rewards[i, at].astype(np.float64))
    return expected


def grpo(r):
    return (r - r.mean()) / (r.std(ddof=1) + 1e-4) if len(r) > 1 else 0 * r


def leave_one_out(r):
    if len(r) < 2:
        return 0 * r
    return [r[i] - np.mean(np.delete(r, i)) for i in range(len(r))]


def centered(r):
    return r - r.mean() if len(r) else r


@pytest.mark.parametrize(
    ("fn", "one"),
    [
        (group_advantages, grpo),
        (centered_group_advantages, centered),
        (rloo_advantages, leave_one_out),
    ],
)
def test_groups_match_numpy_whoever_is_missing(fn, one):
    rewards, mask = groups()
    expected = by_group(one)
    np.testing.assert_allclose(fn(rewards, mask), expected, rtol=1e-4, atol=1e-6)
    dirty = np.where(mask, rewards, np.float32(np.nan))
    np.testing.assert_allclose(fn(dirty, mask), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "fn", [group_advantages, centered_group_advantages, rloo_advantages]
)
@pytest.mark.parametrize("reward", [0.1, -7.3, 1e6])
def test_constant_groups_are_exactly_zero(fn, reward):
    """Fault 20: the mean of three 0.1 is not 0.1, and a small deviation blows it up."""
    rewards = jnp.full((1, 3), reward)
    assert not fn(rewards, jnp.ones((1, 3), bool)).any()
    grad = jax.grad(lambda r: jnp.sum(fn(r, jnp.ones((1, 3), bool))))(rewards)
    assert not grad.any()


@pytest.mark.parametrize("spread", [1e-7, 1e-3, 1.0, 1e6])
def test_group_advantages_are_bounded_however_near_the_rewards(spread):
    rewards = jnp.array([[0.0, 0.0, 0.0, 1.0]]) * spread
    got = group_advantages(rewards, jnp.ones((1, 4), bool))
    assert np.abs(got).max() <= 3 / np.sqrt(4) + 1e-6


def test_group_advantages_are_invariant_and_rloo_is_a_multiple_of_dr_grpo():
    """Identity 14."""
    rewards, mask = groups()[0], jnp.ones((6, 4), bool)
    moved = group_advantages(3 * rewards + np.float32(5), mask, eps=1e-12)
    np.testing.assert_allclose(
        moved, group_advantages(rewards, mask, eps=1e-12), rtol=1e-4
    )
    np.testing.assert_allclose(
        rloo_advantages(rewards, mask),
        4 / 3 * centered_group_advantages(rewards, mask),
        rtol=1e-5,
    )


def test_a_group_of_one_is_refused():
    with pytest.raises(ValueError, match="two responses or more"):
        group_advantages(jnp.ones((3, 1)), jnp.ones((3, 1), bool))


def test_baselines():
    rewards, mask = groups()
    greedy = jnp.arange(6.0)
    got = greedy_baseline_advantages(rewards, greedy, mask)
    expected = np.where(mask, rewards - greedy[:, None], 0)
    np.testing.assert_allclose(got, expected, rtol=1e-6)

    expected = np.where(mask, rewards - rewards[mask].mean(), 0)
    got = batch_baseline_advantages(rewards, mask)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    mean = Mean.of(rewards, where=mask)
    half = batch_baseline_advantages(rewards[:3], mask[:3], mean=mean)
    np.testing.assert_allclose(half, expected[:3], rtol=1e-5, atol=1e-6)

    b = moving_baseline(jnp.float32(2.0), mean, decay=0.9)
    np.testing.assert_allclose(b, 0.9 * 2 + 0.1 * rewards[mask].mean(), rtol=1e-5)
    nothing = Mean.of(rewards, where=mask & False)
    assert moving_baseline(jnp.float32(2.0), nothing, decay=0.9) == 2


def numbers(offset=0.0) -> Any:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(16, 5)) * 3 + 1 + offset).astype(np.float32)
    return x, rng.random((16, 5)) < 0.6


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_whitening_has_mean_zero_and_variance_one_over_the_mask(offset):
    """Identity 20, fault 6. A sum of plain squares would lose the variance."""
    x, mask = numbers(offset)
    got = np.asarray(masked_whiten(jnp.where(mask, x, jnp.nan), mask))
    np.testing.assert_allclose(got[mask].mean(), 0, atol=1e-3 if offset else 1e-6)
    np.testing.assert_allclose(got[mask].std(), 1, rtol=1e-4)
    assert not got[~mask].any()
    mean, std = x[mask].astype(np.float64).mean(), x[mask].astype(np.float64).std()
    np.testing.assert_allclose(got[mask], (x[mask] - mean) / std, atol=1e-3)


def test_rescaling_keeps_the_mean():
    x, mask = numbers()
    got = np.asarray(masked_rescale(x, mask))
    np.testing.assert_allclose(got[mask].mean(), x[mask].mean(), rtol=1e-5)
    np.testing.assert_allclose(got[mask].std(), 1, rtol=1e-5)


def test_a_single_element_whitens_to_zero():
    x = jnp.array([3.7, 1.0])
    for mask in (jnp.array([True, False]), jnp.array([False, False])):
        assert not masked_whiten(x, mask).any()


@pytest.mark.parametrize("value", [1e4 / 3, -7e5 / 9, 0.1])
@pytest.mark.parametrize("rows", [7, 56])
def test_what_does_not_vary_whitens_to_zero(value, rows):
    """Though its mean, and that of the devices' means, is rounded."""
    x = jnp.full((rows * 8, 3), value, jnp.float32)
    mask = jnp.asarray(np.random.default_rng(0).random(x.shape) < 0.8)
    assert not masked_whiten(x, mask).any()

    def body(x, mask):
        moments = Moments.of(x, where=mask).over("data")
        return masked_whiten(x, mask, moments=moments)

    mapped = jax.shard_map(body, mesh=MESH, in_specs=P("data"), out_specs=P("data"))
    assert not jax.jit(mapped)(x, mask).any()


def test_moments_merge_exactly_over_microbatches_and_devices():
    x, mask = numbers(1e3)
    whole = masked_whiten(x, mask)
    parts = [slice(0, 1), slice(1, 11), slice(11, 16)]
    moments = Moments.of(x[:0], where=mask[:0])
    for rows in parts:
        moments += Moments.of(x[rows], where=mask[rows])
    for rows in parts:
        got = masked_whiten(x[rows], mask[rows], moments=moments)
        np.testing.assert_allclose(got, whole[rows], atol=1e-3)

    def body(x, mask):
        moments = Moments.of(x, where=mask).over("data")
        return masked_whiten(x, mask, moments=moments)

    mapped = jax.shard_map(body, mesh=MESH, in_specs=P("data"), out_specs=P("data"))
    np.testing.assert_allclose(jax.jit(mapped)(x, mask), whole, atol=1e-3)
    apart = np.concatenate([masked_whiten(x[r], mask[r]) for r in parts])
    assert np.abs(apart - whole).max() > 0.1


def test_reinforce_plus_plus_whitens_returns():
    x, mask = numbers()
    np.testing.assert_array_equal(
        reinforce_pp_advantages(x, mask), masked_whiten(x, mask)
    )
    grad = jax.grad(lambda x: jnp.sum(reinforce_pp_advantages(x, mask)[0]))(x)
    assert not grad.any()
