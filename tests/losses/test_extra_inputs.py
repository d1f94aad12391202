"""Preference losses that read more than log-probabilities, against loops in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign.losses
from jaxalign.losses import Pair
from tests.losses.losses_under_test import lengths_to_mask, logps, pair_inputs
from tests.losses.preference_oracles import log_sigmoid, mean_loss, read_pair, sigmoid

losses: Any = jaxalign.losses  # NumPy arrays serve as well
N = 6


def batch() -> Any:
    inputs = pair_inputs(np.random.default_rng(0), N, 5)
    inputs[2].chosen[1] = False
    return inputs


def numbers(seed, *shape) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def close(out, expected, rtol=2e-5):
    np.testing.assert_allclose(out.loss.value, expected, rtol=rtol)


def mean_over_pairs(cost):
    """`cost(s, i)` of every pair i that has two responses."""
    inputs = batch()
    pairs = [(read_pair(inputs, i), i) for i in range(N)]
    return np.mean([cost(s, i) for s, i in pairs if s is not None])


def test_bco():
    got = losses.bco_loss(*batch(), jnp.float32(0.3), beta=0.4)
    close(
        got,
        mean_over_pairs(
            lambda s, i: (
                -log_sigmoid(0.4 * s.h_w - 0.3) - np.log(1 - sigmoid(0.4 * s.h_l - 0.3))
            )
        ),
    )


def test_sppo_soft_and_its_hard_limit():
    rates = Pair(*(sigmoid(numbers(k, N)) for k in (1, 2)))
    got = losses.sppo_soft_loss(*batch(), rates, eta=3.0)

    def cost(s, i):
        gaps = s.h_w - 3 * (rates[0][i] - 0.5), s.h_l - 3 * (rates[1][i] - 0.5)
        return sum(x**2 for x in gaps)

    close(got, mean_over_pairs(cost))
    sure = Pair(np.ones(N, np.float32), np.zeros(N, np.float32))
    soft = losses.sppo_soft_loss(*batch(), sure, eta=3.0)
    close(soft, losses.sppo_hard_loss(*batch(), eta=3.0).loss.value, rtol=1e-6)


def test_mappo_and_a_gap_of_one_is_dpo():
    gap = sigmoid(numbers(1, N))
    got = losses.mappo_loss(*batch(), gap, beta=0.4)
    close(
        got,
        mean_over_pairs(lambda s, i: -log_sigmoid(0.4 * (s.h_w - gap[i] * s.h_l))),
    )
    one = losses.mappo_loss(*batch(), np.ones(N, np.float32), beta=0.4)
    close(one, losses.dpo_loss(*batch(), beta=0.4).loss.value, rtol=1e-6)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("name", ["mappo_loss", "rebel_loss", "sppo_soft_loss"])
def test_what_is_said_of_a_pair_that_does_not_count_is_not_read(name, side):
    """NaN for both, though one side has tokens; the oracle leaves the pair out."""
    policy, ref, mask = pair_inputs(np.random.default_rng(0), N, 5)
    mask[side][1] = False
    gaps = numbers(1, N)
    gaps[1] = np.nan
    given = gaps if name == "mappo_loss" else Pair(gaps, numbers(2, N) * gaps)
    rest = np.arange(N) != 1

    def value(policy, *arrays):
        return getattr(losses, name)(policy, *arrays).loss.value

    arrays = policy, ref, mask, given
    got = jax.grad(value)(*arrays)
    expected = jax.grad(value)(*jax.tree.map(lambda x: x[rest], arrays))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a[rest], b, rtol=1e-5)
        assert not a[~rest].any()


def test_rebel_in_either_order():
    rewards = Pair(numbers(1, N), numbers(2, N))
    got = losses.rebel_loss(*batch(), rewards, eta=0.7)
    gaps = rewards.chosen - rewards.rejected
    close(got, mean_over_pairs(lambda s, i: (s.D / 0.7 - gaps[i]) ** 2))
    swapped = [Pair(x.rejected, x.chosen) for x in (*batch(), rewards)]
    close(losses.rebel_loss(*swapped, eta=0.7), got.loss.value)


def test_xpo():
    ref_is_chosen = np.arange(N) % 2 == 0
    got = losses.xpo_loss(*batch(), ref_is_chosen, beta=0.4, alpha=0.2)

    def cost(s, i):
        explored = s.lp_w if ref_is_chosen[i] else s.lp_l
        return -log_sigmoid(0.4 * s.D) + 0.2 * explored

    close(got, mean_over_pairs(cost))


@pytest.mark.parametrize("version", [1, 2])
def test_tdpo_value_and_gradient_with_respect_to_the_divergences(version):
    policy, ref, mask = batch()
    kl = Pair(*(abs(numbers(k, *m.shape)) for k, m in enumerate(mask)))
    alpha = 1.0 if version == 1 else 0.5

    def value(kl):
        if version == 1:
            return losses.tdpo1_loss(policy, ref, mask, kl, beta=0.4).loss.value
        return losses.tdpo2_loss(policy, ref, mask, kl, beta=0.4, alpha=0.5).loss.value

    def margin(s, i):
        totals = [
            sum(float(x) for x in k[i][m[i]]) for k, m in zip(kl, mask, strict=True)
        ]
        return 0.4 * (s.D - alpha * (totals[1] - totals[0]))

    got, grads = jax.value_and_grad(value)(kl)
    expected = mean_over_pairs(lambda s, i: -log_sigmoid(margin(s, i)))
    np.testing.assert_allclose(got, expected, rtol=2e-5)
    slope = -sigmoid(-margin(read_pair(batch(), 0), 0)) * 0.4 * alpha / 5
    chosen = slope if version == 1 else 0.0  # version 2 holds the chosen one's
    np.testing.assert_allclose(grads.chosen[0], chosen * mask.chosen[0], rtol=1e-4)
    np.testing.assert_allclose(grads.rejected[0], -slope * mask.rejected[0], rtol=1e-4)


def test_tdpo2_without_divergences_is_dpo():
    policy, ref, mask = batch()
    got = losses.tdpo2_loss(policy, ref, mask, ref, beta=0.4, alpha=0.0)
    close(got, losses.dpo_loss(policy, ref, mask, beta=0.4).loss.value, rtol=1e-6)


def test_wpo_weights_and_no_gradient_through_them():
    policy, ref, mask = batch()
    squares = Pair(*(x + abs(numbers(3, *x.shape)) - np.float32(0.8) for x in policy))
    weights = []
    for i in range(N):
        w = 1.0
        for p, q, m in zip(policy, squares, mask, strict=True):
            if m[i].any():
                w *= np.exp(np.mean(p[i][m[i]] - q[i][m[i]], dtype=np.float64))
        weights.append(min(w, 1.0))
    assert min(weights) < 0.9 < max(weights) == 1.0
    got = losses.wpo_loss(policy, ref, mask, squares, beta=0.4)
    close(got, mean_over_pairs(lambda s, i: -weights[i] * log_sigmoid(0.4 * s.D)))

    def value(policy):
        return losses.wpo_loss(policy, ref, mask, squares, beta=0.4).loss.value

    grads = jax.grad(value)(policy)
    s = read_pair(batch(), 0)
    slope = -0.4 * sigmoid(-0.4 * s.D) * weights[0] / 5
    np.testing.assert_allclose(grads.chosen[0], slope * mask.chosen[0], rtol=1e-4)


def test_wpo_weight_of_a_uniform_policy_is_one():
    policy, ref, mask = batch()
    uniform = Pair(*(np.full_like(x, -np.log(7)) for x in policy))
    squares = Pair(*(np.full_like(x, np.log(7 * (1 / 7) ** 2)) for x in policy))
    out = losses.wpo_loss(uniform, ref, mask, squares)
    np.testing.assert_allclose(out.metrics["pair_weight"].value, 1, rtol=1e-6)
    close(out, losses.dpo_loss(uniform, ref, mask).loss.value, rtol=1e-6)


@pytest.mark.parametrize(("surplus", "beta"), [(0.5, 0.4 * 1.3), (-9.0, 1e-3)])
def test_beta_dpo_adapts_beta_down_to_a_floor(surplus, beta):
    margins = jnp.float32(0.2 + surplus), jnp.float32(0.2)
    got = losses.beta_dpo_loss(*batch(), *margins, beta=0.4, alpha=0.6)
    close(got, losses.dpo_loss(*batch(), beta=beta).loss.value, rtol=1e-5)
    np.testing.assert_allclose(got.metrics["beta"].value, beta, rtol=1e-5)


def test_beta_dpo_keeps_a_share_and_rather_the_usual():
    margins = np.array([0, 0, 0, 0, 50, 50, 50, 0, 0, 0], np.float32)
    valid = np.arange(10) < 8
    keys = jax.random.split(jax.random.key(0), 200)
    keep = jax.vmap(
        lambda k: losses.beta_dpo_keep(k, margins, valid, 0.0, 5.0, fraction=0.75)
    )(keys)
    assert np.all(np.sum(keep, axis=1) == 6)
    assert not np.any(keep[:, 8:])
    # All five usual ones are kept, and one of the three others, each as often.
    assert np.all(keep[:, [0, 1, 2, 3, 7]])
    assert np.all(np.mean(keep[:, 4:7], axis=0) > 0.2)


@pytest.mark.parametrize("tenths", range(1, 11))
def test_beta_dpo_keeps_no_pair_more_for_rounding(tenths):
    """Shares of 10, 20, ... pairs that are whole: the oracle counts in integers."""
    for n in (10, 50, 70, 1000):
        margins, valid = np.zeros(n, np.float32), np.ones(n, bool)
        key, fraction = jax.random.key(0), tenths / 10
        keep = losses.beta_dpo_keep(key, margins, valid, 0.0, 1.0, fraction=fraction)
        assert keep.sum() == n * tenths // 10


def test_bco_unpaired_with_density_ratios():
    rng = np.random.default_rng(0)
    mask = lengths_to_mask(rng, N, 5)
    policy, ref, good = logps(rng, N, 5), logps(rng, N, 5), np.arange(N) % 3 == 0
    weights = abs(numbers(4, N))
    got = losses.bco_unpaired_loss(
        policy, ref, mask, good, jnp.float32(0.3), beta=0.4, weights=weights
    )
    costs = []
    for i in range(N):
        h = sum(float(policy[i, t] - ref[i, t]) for t in np.flatnonzero(mask[i]))
        z = 0.4 * h - 0.3
        costs.append(-log_sigmoid(z) if good[i] else -weights[i] * log_sigmoid(-z))
    close(got, np.mean(costs))
    assert got.metrics["rewards/chosen"].weight == 2


def test_infonca_with_an_answer_missing_and_its_limit_dpo():
    rng = np.random.default_rng(0)
    mask = np.stack([lengths_to_mask(rng, 4, 5) for _ in range(3)], axis=1)
    mask[0, 1] = mask[2, 1:] = False
    policy, ref = -rng.gamma(2.0, size=(2, 4, 3, 5)).astype(np.float32)
    rewards = numbers(1, 4, 3)
    got = losses.infonca_loss(policy, ref, mask, rewards, beta=0.3, alpha=0.5)
    costs = []
    for i in (0, 1, 3):
        there = [k for k in range(3) if mask[i, k].any()]
        h = [np.sum((policy - ref)[i, k][mask[i, k]], dtype=float) for k in there]
        target = np.exp(rewards[i, there] / 0.5)
        model = np.exp(0.3 * np.array(h))
        target, model = target / target.sum(), model / model.sum()
        costs.append(-np.sum(target * np.log(model)))
    close(got, np.mean(costs))
    assert got.loss.weight == 3

    two = [x[:, ::2] for x in (policy, ref, mask)]
    sure = np.tile(np.array([1, 0], np.float32), (4, 1))
    limit = losses.infonca_loss(*two, sure, beta=0.3, alpha=1e-3)
    pairs = [Pair(x[:, 0], x[:, 1]) for x in two]
    close(limit, losses.dpo_loss(*pairs, beta=0.3).loss.value, rtol=1e-5)


def test_a_star_po_is_zero_at_its_optimum():
    """With beta h = r - V*, where V* makes the optimal policy sum to one."""
    rng = np.random.default_rng(0)
    ref = np.log(rng.dirichlet(np.ones(5))).astype(np.float32)
    rewards = numbers(1, 5)
    optimal = np.exp(ref) * np.exp(rewards / 0.5)
    value = 0.5 * np.log(optimal.sum())
    policy = np.log(optimal / optimal.sum())[:, None]
    mask, values = np.ones((5, 1), bool), np.full(5, value, np.float32)
    args = ref[:, None], mask, rewards, values
    out = losses.a_star_po_loss(policy.astype(np.float32), *args, beta=0.5)
    np.testing.assert_allclose(out.loss.value, 0, atol=1e-10)
    off = losses.a_star_po_loss(ref[:, None], *args, beta=0.5)
    close(off, np.mean((rewards - value) ** 2.0))


def test_soft_value_is_a_log_mean_exp():
    rewards, mask = numbers(1, 3, 4), np.ones((3, 4), bool)
    mask[1, 2:] = mask[2] = False
    got = losses.soft_value(rewards, mask, beta=0.5)
    rows = [rewards[0], rewards[1, :2]]
    expected = [0.5 * np.log(np.mean(np.exp(r / 0.5))) for r in rows]
    np.testing.assert_allclose(got, [*expected, 0.0], rtol=1e-5)


def test_nash_md_gradient():
    rng = np.random.default_rng(0)
    mask = lengths_to_mask(rng, N, 5)
    policy, ref = logps(rng, N, 5), logps(rng, N, 5)
    won = sigmoid(numbers(1, N))

    def value(policy):
        return losses.nash_md_loss(policy, ref, mask, won, beta=0.3).loss.value

    grads = jax.grad(value)(policy)
    for i in range(N):
        h = np.sum((policy - ref)[i][mask[i]], dtype=float)
        slope = -(won[i] - 0.5 - 0.3 * h) / N
        np.testing.assert_allclose(grads[i], slope * mask[i], rtol=1e-4)


def test_preferred_ft_is_sft_on_the_chosen():
    policy, _, mask = pair_inputs(np.random.default_rng(0), N, 5)
    mask.rejected[2] = False
    got = losses.preferred_ft_loss(policy, mask)
    expected = losses.sft_loss(policy.chosen, mask.chosen)
    close(got, expected.loss.value, rtol=1e-6)
    assert got.loss.weight == expected.loss.weight


def test_token_unlikelihood():
    rng = np.random.default_rng(0)
    mask, logps_ = lengths_to_mask(rng, 3, 4), logps(rng, 3, 4)
    got = losses.token_unlikelihood_loss(logps_, mask)
    close(got, np.mean(-np.log(1 - np.exp(logps_[mask].astype(float)))))

    def total(x):
        return losses.token_unlikelihood_loss(x, mask).loss.total

    for certain in (0.0, -1e-9, -1e3):
        grads = jax.grad(total)(np.full((3, 4), certain, np.float32))
        assert np.all(np.isfinite(grads))


def test_slic_with_a_target_of_its_own():
    policy, _, mask = batch()
    target = -abs(numbers(1, N))
    got = losses.slic_loss(policy, mask, delta=3.0, nll_weight=0.3, target_logps=target)

    def cost(s, i):
        return max(0.0, 3 - s.lp_w + s.lp_l) - 0.3 * target[i]

    close(got, mean_over_pairs(cost))


def test_mixed_preference_is_the_weighted_sum():
    inputs, delta = batch(), jnp.float32(0.3)
    got = losses.mixed_preference_loss(*inputs, delta, beta=0.4)
    nll, _ = mean_loss(lambda s: -s.lp_w / s.n_w, inputs)
    expected = (
        0.8 * losses.dpo_loss(*inputs, beta=0.4).loss.value
        + 0.2 * losses.bco_loss(*inputs, delta, beta=0.4).loss.value
        + nll
    )
    close(got, expected)
    np.testing.assert_allclose(got.metrics["loss/nll"].value, nll, rtol=1e-5)
