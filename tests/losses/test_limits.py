"""A hyperparameter at the end of its range, or None, means the limit and not NaN."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign.losses
from jaxalign.errors import UserError
from jaxalign.losses import Pair
from jaxalign.ops import group_advantages
from tests.losses.policy_cases import rollout_with_reference, rollout_with_values
from tests.losses.preference_cases import ranked
from tests.losses.test_extra_inputs import batch, numbers

losses: Any = jaxalign.losses
INF = float("inf")


def value_and_slope(loss, first, *rest, **options):
    """At the first argument, as one flat array."""

    def value(x):
        return loss(x, *rest, **options).loss.value

    got, grads = jax.jit(jax.value_and_grad(value))(first)
    return np.concatenate([np.ravel(x) for x in jax.tree.leaves((got, grads))])


def same(one, other, rtol=1e-5, atol=1e-7):
    assert np.isfinite(one).all()
    np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    ("alpha", "name"), [(0.0, "dpo_loss"), (1.0, "f_dpo_forward_kl_loss")]
)
@pytest.mark.parametrize("traced", [False, True])
def test_the_ends_of_alpha_are_reverse_and_forward_kl(alpha, name, traced):
    given = jnp.float32(alpha) if traced else alpha
    got = value_and_slope(losses.f_dpo_alpha_loss, *batch(), beta=0.4, alpha=given)
    same(got, value_and_slope(getattr(losses, name), *batch(), beta=0.4))
    near = abs(alpha - 1e-3)
    close = value_and_slope(losses.f_dpo_alpha_loss, *batch(), beta=0.4, alpha=near)
    same(close, got, rtol=0.05, atol=1e-3)


def ranking():
    policy, ref, mask = ranked(np.random.default_rng(0), 5, 4, answers=3)
    mask[2, 1] = False
    return policy, ref, mask


def test_given_rewards_at_temperature_zero_are_their_best():
    rewards = np.array(
        [[3, 1, 2], [0, 5, 1], [1, 9, 2], [1, 1, 0], [-1, -2, -3]], np.float32
    )
    best = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [1, 0, 0]])
    policy, ref, mask = ranking()
    got = value_and_slope(
        losses.infonca_loss, policy, ref, mask, rewards, beta=0.3, alpha=0.0
    )
    costs = []
    for i, target in enumerate(best):
        there = [k for k in range(3) if mask[i, k].any()]
        h = [np.sum((policy - ref)[i, k][mask[i, k]], dtype=float) for k in there]
        model = np.exp(0.3 * np.array(h)) / np.exp(0.3 * np.array(h)).sum()
        costs.append(-np.sum(target[there] * np.log(model)))
    np.testing.assert_allclose(got[0], np.mean(costs), rtol=1e-5)
    cold = value_and_slope(
        losses.infonca_loss, policy, ref, mask, rewards, beta=0.3, alpha=1e-4
    )
    same(got, cold)


def test_discopop_that_switches_at_once():
    got = value_and_slope(losses.discopop_loss, *batch(), beta=0.4, tau=0.0)
    same(got, value_and_slope(losses.discopop_loss, *batch(), beta=0.4, tau=1e-6))
    zero, mask = jnp.zeros((1, 1)), jnp.ones((1, 1), bool)
    out = losses.discopop_loss(
        Pair(zero, zero), Pair(zero, zero), Pair(mask, mask), tau=0.0
    )
    np.testing.assert_allclose(out.loss.value, (np.log(2) + 1) / 2, rtol=1e-6)


def test_weights_without_a_cap():
    policy, ref, mask = batch()
    squares = Pair(*(x + abs(numbers(3, *x.shape)) - np.float32(1.2) for x in policy))
    arrays = policy, ref, mask, squares
    free = losses.wpo_loss(*arrays, beta=0.4, max_weight=None)
    capped = losses.wpo_loss(*arrays, beta=0.4)
    for name in ("pair_weight", "rewards/chosen"):
        bigger = free.metrics[name].value > 1.1 * capped.metrics[name].value
        assert bigger == (name == "pair_weight")
    same(
        value_and_slope(losses.wpo_loss, *arrays, max_weight=None),
        value_and_slope(losses.wpo_loss, *arrays, max_weight=1e9),
    )
    same(
        value_and_slope(losses.wpo_loss, *arrays, max_weight=None),
        value_and_slope(losses.wpo_loss, *arrays, max_weight=INF),
    )


def test_a_hinge_without_a_margin():
    got = value_and_slope(losses.slic_loss, batch()[0], batch()[2], delta=0.0)
    near = value_and_slope(losses.slic_loss, batch()[0], batch()[2], delta=1e-6)
    same(got, near, atol=1e-5)


def rollout(arrays=4) -> Any:
    return rollout_with_reference(np.random.default_rng(7), 6, 5)[:arrays]


def test_grpo_with_its_defaults_runs_and_reads_a_reference_that_it_is_given():
    arrays, ref = rollout(), rollout(6)[5]
    plain = value_and_slope(losses.grpo_loss, *arrays)
    same(plain, value_and_slope(losses.grpo_loss, *arrays, beta=0.0))
    with_ref = functools.partial(losses.grpo_loss, ref_logps=ref)
    got = value_and_slope(with_ref, *arrays)
    same(got, value_and_slope(with_ref, *arrays, beta=0.04))
    assert abs(got[0] - plain[0]) > 1e-5
    with pytest.raises(UserError, match="beta=0.04 needs ref_logps"):
        losses.grpo_loss(*arrays, beta=0.04)


@pytest.mark.parametrize(
    "name",
    ["ppo_policy", "dual_clip_policy", "grpo", "dapo", "cispo", "gspo", "gspo_token"],
)
def test_no_bound_above_and_none_below_is_the_ratio_itself(name):
    """The policy gradient at the ratio, or for CISPO the weighted one."""
    loss = getattr(losses, f"{name}_loss")
    options = {"dual_clip": None} if name == "dual_clip_policy" else {}
    got = value_and_slope(loss, *rollout(), clip=1.0, clip_high=INF, **options)
    far = value_and_slope(loss, *rollout(), clip=1.0, clip_high=1e6, **options)
    same(got, far)


def test_no_bound_of_bad_tokens_is_ppo():
    got = value_and_slope(losses.dual_clip_policy_loss, *rollout(), dual_clip=None)
    same(got, value_and_slope(losses.ppo_policy_loss, *rollout()))


def test_no_bound_of_a_geometric_mean():
    got = value_and_slope(losses.gmpo_loss, *rollout(), log_clip=INF)
    same(got, value_and_slope(losses.gmpo_loss, *rollout(), log_clip=1e3))


def test_a_critic_without_a_clip_has_the_squared_error():
    _, _, _, values, old, returns, mask, _ = rollout_with_values(
        np.random.default_rng(0), 6, 5
    )
    got = value_and_slope(losses.ppo_value_loss, values, old, returns, mask, clip=None)
    errors = np.asarray(values - returns, np.float64)[mask]
    np.testing.assert_allclose(got[0], np.mean(errors**2) / 2, rtol=1e-5)
    far = value_and_slope(losses.ppo_value_loss, values, old, returns, mask, clip=INF)
    same(got, far)
    whole = rollout_with_values(np.random.default_rng(0), 6, 5)[:-1]
    plain = losses.ppo_loss(*whole, value_clip=None).metrics["loss/value_avg"]
    np.testing.assert_allclose(plain.value, got[0], rtol=1e-6)


def test_importance_weights_without_bounds():
    logps, sampler, _, mask = rollout()
    ratios = np.where(mask, np.exp(np.float64(logps - sampler)), 0)
    for weights in (
        losses.truncated_importance_weights(logps, sampler, mask, cap=None),
        losses.masked_importance_weights(logps, sampler, mask, low=0.0, high=None),
    ):
        np.testing.assert_allclose(weights, ratios, rtol=1e-5)
    whole = losses.sequence_importance_weights(logps, sampler, mask, cap=None)
    for row, kept, m in zip(whole, ratios, mask, strict=True):
        np.testing.assert_allclose(row, np.prod(kept[m]) * m, rtol=1e-5)


def test_group_advantages_without_a_floor():
    rewards = jnp.array([[1.0, 3.0, 5.0], [0.1, 0.1, 0.1]])
    mask = jnp.ones((2, 3), bool)
    got = group_advantages(rewards, mask, eps=0.0)
    np.testing.assert_allclose(got, [[-1, 0, 1], [0, 0, 0]], rtol=1e-6)
    chex.assert_tree_all_finite(
        jax.grad(lambda r: jnp.sum(group_advantages(r, mask, eps=0.0)))(rewards)
    )


@pytest.mark.parametrize(
    ("name", "given"),
    [("dpo_loss", 0.0), ("dpo_loss", 0), ("robust_dpo_loss", 0.0)],
)
def test_without_label_noise_an_impossible_rejected_token_costs_nothing(name, given):
    """Of two pairs; the oracle has log 2 for the other one, and its slopes are ∓β/4."""
    lp = np.full((2, 1), -1.0, np.float32)
    policy = Pair(lp, np.array([[-1.0], [-np.inf]], np.float32))
    mask = Pair(lp < 0, lp < 0)

    def value(policy):
        out = getattr(losses, name)(
            policy, Pair(lp, lp), mask, beta=0.4, label_smoothing=given
        )
        return out.loss.value

    got, slopes = jax.jit(jax.value_and_grad(value))(policy)
    np.testing.assert_allclose(got, np.log(2) / 2, rtol=1e-6)
    np.testing.assert_allclose(slopes.chosen.ravel(), [-0.1, 0], atol=1e-7)
    np.testing.assert_allclose(slopes.rejected.ravel(), [0.1, 0], atol=1e-7)


@pytest.mark.parametrize(
    ("logp", "expected"), [(-1.0, [-1, -0.5, -0.5]), (-np.inf, [-0.5, -0.5, 0])]
)
def test_without_a_kl_term_the_reference_may_find_a_token_impossible(logp, expected):
    """Two tokens with A = 1, of which k3 would be infinite; a ratio of 0 adds none."""
    old = np.full((1, 2), -1.0, np.float32)
    new = np.array([[-1.0, logp]], np.float32)
    ref = np.array([[-1.0, -np.inf]], np.float32)
    arrays = old, np.ones_like(old), old < 0
    got = value_and_slope(losses.grpo_loss, new, *arrays, ref_logps=ref, beta=0.0)
    same(got, expected)
