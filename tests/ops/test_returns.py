"""Returns and GAE against explicit sums and rlax; tool tokens are stepped over."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.ops import decoupled_gae, gae, reward_to_go


def inputs(b=6, t=7, seed=0) -> Any:
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, b, t)).astype(np.float32)
    mask = rng.random((b, t)) < 0.7
    mask[0] = False
    return rewards, values, mask


def gae_in_numpy(rewards, values, mask, discount, lam):
    """A_t = Σ_l (γλ)^l δ_{t+l} over the unmasked tokens, by an explicit double sum."""
    advantages = np.zeros(mask.shape)
    for i, row in enumerate(mask):
        at = np.flatnonzero(row)
        v = [float(values[i, t]) for t in at] + [0.0]
        errors = [rewards[i, t] + discount * v[k + 1] - v[k] for k, t in enumerate(at)]
        decay = discount * (lam[i] if np.ndim(lam) else lam)
        for k, t in enumerate(at):
            advantages[i, t] = sum(
                decay**n * error for n, error in enumerate(errors[k:])
            )
    return advantages


@pytest.mark.parametrize(("discount", "lam"), [(1.0, 0.95), (0.9, 0.5), (0.9, 0.0)])
def test_gae_is_the_explicit_double_sum(discount, lam):
    rewards, values, mask = inputs()
    got, returns = jax.jit(lambda *x: gae(*x, discount=discount, lam=lam))(
        rewards, values, mask
    )
    expected = gae_in_numpy(rewards, values, mask, discount, lam)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(returns, expected + values * mask, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_gae_is_that_of_rlax():
    import rlax

    rewards, values, mask = inputs()
    got, _ = gae(rewards, values, np.ones_like(mask), discount=0.9, lam=0.8)
    for i in range(len(mask)):
        expected = rlax.truncated_generalized_advantage_estimation(
            jnp.asarray(rewards[i]),
            jnp.full(mask.shape[1], 0.9),
            0.8,
            jnp.append(values[i], 0.0),
        )
        np.testing.assert_allclose(got[i], expected, rtol=1e-4, atol=1e-5)


def test_the_limits_of_lambda():
    """Identity 11."""
    rewards, values, mask = inputs()
    advantages, returns = gae(rewards, values, mask, discount=0.9, lam=1.0)
    to_go = reward_to_go(rewards, mask, discount=0.9)
    np.testing.assert_allclose(advantages, to_go - values * mask, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(returns, to_go, rtol=1e-4, atol=1e-5)
    errors, _ = gae(rewards, values, mask, discount=0.9, lam=0.0)
    for i, row in enumerate(mask):
        at = np.flatnonzero(row)
        following = np.append(values[i, at][1:], 0.0)
        one_step = rewards[i, at] + 0.9 * following - values[i, at]
        np.testing.assert_allclose(errors[i, at], one_step, rtol=1e-4, atol=1e-5)


def test_a_reward_at_the_end_is_the_advantage_of_every_token():
    mask = jnp.array([[True, True, False, True, False]])
    rewards = jnp.array([[0.0, 0.0, 7.0, 0.9, 7.0]])
    advantages, _ = gae(rewards, jnp.zeros_like(rewards), mask, lam=1.0)
    np.testing.assert_allclose(advantages, 0.9 * np.asarray(mask), rtol=1e-6)


@pytest.mark.parametrize("garbage", [1e30, np.inf, np.nan])
def test_masked_rewards_and_values_reach_nothing(garbage):
    """Fault 5: padding and tool tokens leak into GAE."""
    rewards, values, mask = inputs()
    dirty_rewards, dirty_values = (
        jnp.where(mask, x, garbage) for x in (rewards, values)
    )
    for got, expected in zip(
        gae(dirty_rewards, dirty_values, mask), gae(rewards, values, mask), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        reward_to_go(dirty_rewards, mask), reward_to_go(rewards, mask)
    )


def test_masked_tokens_may_be_left_out_altogether():
    rewards, values, mask = (x[3:4] for x in inputs())
    kept = (x[:, mask[0]] for x in (rewards, values, mask))
    got, expected = gae(rewards, values, mask), gae(*kept)
    for x, y in zip(got, expected, strict=True):
        np.testing.assert_allclose(x[:, mask[0]], y, rtol=1e-6)


def test_decoupled_gae_has_a_lambda_for_each_length_and_unbiased_returns():
    rewards, values, mask = inputs()
    mask[1] = np.arange(mask.shape[1]) % 4 == 2  # two tokens: α |y| < 1
    advantages, returns = decoupled_gae(rewards, values, mask, alpha=0.4)
    lam = [max(1 - 1 / (0.4 * max(row.sum(), 1)), 0.0) for row in mask]
    assert min(lam) == 0 < max(lam)
    expected = gae_in_numpy(rewards, values, mask, 1.0, lam)
    np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        returns, reward_to_go(rewards, mask), rtol=1e-4, atol=1e-5
    )


def test_rewards_of_fractions_stay_what_they_are():
    rewards = jnp.array([[0.4, 0.9, -1.5]])
    got = reward_to_go(rewards, jnp.ones((1, 3), bool), discount=0.0)
    np.testing.assert_array_equal(got, rewards)
