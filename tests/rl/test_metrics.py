"""Metrics of sampled answers against plain NumPy."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.ops import Mean
from jaxalign.rl.metrics import (
    completion_metrics,
    explained_variance,
    group_metrics,
    kl_metrics,
    sampler_metrics,
    with_update,
)

LENGTHS = np.array([[3, 1, 4], [2, 4, 4]])
MASK = np.arange(4) < LENGTHS[..., None]
STOPPED = np.array([[True, True, False], [True, False, True]])
USED = np.array([[True, True, True], [True, True, False]])


def values(metrics):
    return {name: float(mean.value) for name, mean in metrics.items()}


def test_lengths():
    got = values(completion_metrics(*map(jnp.asarray, (MASK, STOPPED, USED))))
    expected = {
        "completions/mean_length": 14 / 5,
        "completions/min_length": 1,
        "completions/max_length": 4,
        "completions/mean_terminated_length": 2,
        "completions/min_terminated_length": 1,
        "completions/max_terminated_length": 3,
        "completions/clipped_ratio": 2 / 5,
    }
    assert got == pytest.approx(expected)


def test_no_answer_that_stopped_gives_0_and_weight_0():
    never = jnp.zeros_like(jnp.asarray(STOPPED))
    got = completion_metrics(jnp.asarray(MASK), never, jnp.asarray(USED))
    for which in ("mean", "min", "max"):
        mean = got[f"completions/{which}_terminated_length"]
        assert mean.value == mean.weight == 0


def test_groups():
    rewards = np.array([[1.0, 2.0, 6.0], [3.0, 3.0, np.nan]])
    got = values(group_metrics(jnp.asarray(rewards, jnp.float32), jnp.asarray(USED)))
    np.testing.assert_allclose(got["reward"], 15 / 5)
    expected = np.std([1, 2, 6], ddof=1) / 2
    np.testing.assert_allclose(got["reward_std"], expected, rtol=1e-6)
    assert got["frac_reward_zero_std"] == 0.5


def test_gaps_and_divergences():
    rng = np.random.default_rng(0)
    a, b = (np.where(MASK, rng.normal(size=MASK.shape), np.nan) for _ in range(2))
    arrays: Any = [jnp.asarray(x, jnp.float32) for x in (a, b)]
    gap = (a - b)[MASK]
    got = values(sampler_metrics(*arrays, mask=jnp.asarray(MASK)))
    name = "sampling/sampling_logp_difference/"
    np.testing.assert_allclose(got[name + "mean"], np.abs(gap).mean(), rtol=1e-5)
    np.testing.assert_allclose(got[name + "max"], np.abs(gap).max(), rtol=1e-5)
    name = "sampling/importance_sampling_ratio/"
    ratio = np.exp(gap)
    for which, x in (
        ("min", ratio.min()),
        ("mean", ratio.mean()),
        ("max", ratio.max()),
    ):
        np.testing.assert_allclose(got[name + which], x, rtol=1e-5)
    got = values(kl_metrics(*arrays, mask=jnp.asarray(MASK)))
    np.testing.assert_allclose(got["kl"], (np.exp(-gap) - 1 + gap).mean(), rtol=1e-5)
    sums = np.nansum(a - b, axis=-1)
    np.testing.assert_allclose(got["objective/kl"], sums.mean(), rtol=1e-4)


def test_explained_variance():
    rng = np.random.default_rng(1)
    returns = np.where(MASK, rng.normal(size=MASK.shape), np.inf)
    v = np.where(MASK, 0.5 * returns + 0.1 * rng.normal(size=MASK.shape), np.nan)
    arrays: Any = [jnp.asarray(x, jnp.float32) for x in (v, returns)]
    (got,) = values(explained_variance(*arrays, mask=jnp.asarray(MASK))).values()
    rest = (returns - v)[MASK]
    np.testing.assert_allclose(got, 1 - rest.var() / returns[MASK].var(), rtol=1e-4)
    flat = jnp.ones(MASK.shape)
    assert explained_variance(flat, flat, jnp.asarray(MASK)).popitem()[1].value == 0


@pytest.mark.parametrize("value", [1 / 3, 1e4 / 3])
def test_nothing_is_explained_of_what_varies_by_rounding_alone(value):
    returns = np.full(MASK.shape, value, np.float32)
    returns[0, 0, 0] = np.nextafter(returns[0, 0, 0], np.float32(np.inf))
    v = (value * np.random.default_rng(2).random(MASK.shape)).astype(np.float32)
    arrays: Any = [jnp.asarray(x) for x in (v, returns, MASK)]
    assert explained_variance(*arrays).popitem()[1].value == 0
    # A tenth of a percent is more than rounding.
    returns[0, 0, 0] = 1.001 * value
    (got,) = values(
        explained_variance(arrays[0], jnp.asarray(returns), arrays[2])
    ).values()
    rest, whole = (x[MASK].astype(float).var() for x in (returns - v, returns))
    np.testing.assert_allclose(got, 1 - rest / whole, rtol=1e-3)


def test_updates_add_up_and_the_extreme_clip_shares_are_kept():
    """Of unequal weights; a mean over tokens is not a mean over updates."""
    low, high, weights = [0.3, 0.1, 0.6], [0.0, 0.5, 0.2], [10.0, 30.0, 20.0]
    sums = None
    for a, b, w in zip(low, high, weights, strict=True):
        update = {"clip_ratio/low_mean": a, "clip_ratio/high_mean": b, "loss": a - b}
        update = {k: Mean(*map(jnp.float32, (x * w, w))) for k, x in update.items()}
        sums = with_update(sums, update)
    assert sums is not None
    got = values(sums)
    assert got == pytest.approx(
        {
            "clip_ratio/low_mean": np.average(low, weights=weights),
            "clip_ratio/high_mean": np.average(high, weights=weights),
            "loss": np.average(np.subtract(low, high), weights=weights),
            "clip_ratio/low_min": 0.1,
            "clip_ratio/high_max": 0.5,
        },
        rel=1e-6,
    )
    assert sums["clip_ratio/low_min"].weight == 1
    plain = with_update(None, {"loss": Mean(jnp.float32(1), jnp.float32(2))})
    assert set(plain) == {"loss"}
