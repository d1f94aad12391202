"""Losses as products of pieces, against float64 loops that know only the formulas.

Every product is tried: its value, and its derivative along a direction. One program
computes all products of a kind; the loops' derivatives are central differences, in
which what has no gradient stands still.
"""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign.losses
from jaxalign import ops
from jaxalign.losses import Pair
from tests.losses.losses_under_test import lengths_to_mask, logps
from tests.losses.policy_cases import mask_with_gaps

losses: Any = jaxalign.losses
STEP = 1e-6


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


# Preferences: rewards x links x weights x label noise.

BETA, ALPHA, LD, FLIP, EXO, TAU = 0.4, 0.3, 0.25, 0.2, 0.1, 0.5
DIVERGENCES = {
    "reverse KL": (losses.reverse_kl, lambda h: h),
    "forward KL": (losses.forward_kl, lambda h: 1 - np.exp(-h)),
    "Jensen-Shannon": (
        losses.jensen_shannon,
        lambda h: np.log(2 * np.exp(h) / (1 + np.exp(h))),
    ),
    "alpha": (
        lambda h: losses.alpha_divergence(h, ALPHA),
        lambda h: (1 - np.exp(-ALPHA * h)) / ALPHA,
    ),
}
REWARDS = [*DIVERGENCES, "per token", "shared length", "reference-free"]
LINKS = {
    "logistic": (losses.pairwise_logistic, lambda m: softplus(-m)),
    "hinge": (losses.pairwise_hinge, lambda m: max(0.0, 1 - m)),
    "square": (
        lambda m: losses.pairwise_square(m, target=0.7),
        lambda m: (m - 0.7) ** 2,
    ),
    "sigmoid": (losses.pairwise_sigmoid, lambda m: 1 - sigmoid(m)),
    "EXO": (
        lambda m: losses.pairwise_exo(m, label_smoothing=EXO),
        lambda m: sum(
            q * (np.log(q) - np.log(p))
            for q, p in ((sigmoid(m), 1 - EXO), (sigmoid(-m), EXO))
        ),
    ),
    "DiscoPOP": (
        lambda m: losses.pairwise_discopop(m, tau=TAU),
        lambda m: (1 - sigmoid(m / TAU)) * softplus(-m) + sigmoid(m / TAU) * np.exp(-m),
    ),
}
WEIGHTS = ["plain", "WPO"]
NOISE = {
    "clean": (lambda link, m: link(m), lambda link, m: link(m)),
    "smoothed": (
        lambda link, m: losses.smoothed(link, m, FLIP),
        lambda link, m: (1 - FLIP) * link(m) + FLIP * link(-m),
    ),
    "debiased": (
        lambda link, m: losses.debiased(link, m, FLIP),
        lambda link, m: ((1 - FLIP) * link(m) - FLIP * link(-m)) / (1 - 2 * FLIP),
    ),
}
PREFERENCES = [*itertools.product(REWARDS, LINKS, WEIGHTS, NOISE)]


def preference_inputs() -> Any:
    rng = np.random.default_rng(0)
    sizes = (5, 7)
    policy, ref = (
        Pair(*(logps(rng, 6, t).astype(float) / 2 for t in sizes)) for _ in range(2)
    )
    squares = Pair(*(p + 0.5 * rng.normal(size=p.shape) for p in policy))
    mask = Pair(*(lengths_to_mask(rng, 6, t) for t in sizes))
    mask.chosen[1] = False
    direction = Pair(*(rng.normal(size=p.shape) for p in policy))
    return policy, ref, mask, squares, direction


def rewards_of(name, policy, ref, mask):
    weights = None
    if name == "shared length":
        weights = losses.shared_length_weights(mask, alpha=LD)
    given = None if name == "reference-free" else ref
    pairs = losses.sum_pairs(policy, mask, given, token_weights=weights)
    if name in DIVERGENCES:
        u = DIVERGENCES[name][0]
        return pairs, pairs.each(lambda y: BETA * u(y.log_ratios))
    if name == "per token":
        return pairs, pairs.each(lambda y: BETA * y.mean_log_ratios)
    if name == "reference-free":
        return pairs, pairs.each(lambda y: BETA * y.mean_logps)
    return pairs, pairs.rewards(BETA)


@functools.cache
def preference_products():
    """Of every product: its value, and its derivative along the direction."""
    policy, ref, mask, squares, direction = preference_inputs()

    def values(policy):
        weights = 1.0, losses.wpo_weights(policy, mask, squares)
        outs = []
        for reward in REWARDS:
            pairs, rewards = rewards_of(reward, policy, ref, mask)
            margins = rewards.chosen - rewards.rejected
            costs = [
                weight * noise(link, margins)
                for (link, _), weight, (noise, _) in itertools.product(
                    LINKS.values(), weights, NOISE.values()
                )
            ]
            mean = functools.partial(losses.pair_output, pairs=pairs, rewards=rewards)
            outs.append(jax.vmap(lambda x, mean=mean: mean(x).loss.value)(stack(costs)))
        return jnp.concatenate(outs)

    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, (policy, direction))
        found = jax.jit(lambda p, d: jax.jvp(values, (p,), (d,)))(*arrays)
        return [by_name(PREFERENCES, x) for x in found]


def stack(arrays):
    return jnp.stack([*arrays])


def by_name(products, x):
    assert x.dtype == np.float64
    return dict(zip(products, np.asarray(x), strict=True))


def preference_by_hand(product, policy, still):
    """The mean over pairs; `still` is the policy of what has no gradient."""
    reward, link, by, noise = product
    _, ref, mask, squares, _ = preference_inputs()
    costs = []
    for i in range(len(mask.chosen)):
        at = [np.flatnonzero(m[i]) for m in mask]
        if not all(map(len, at)):
            continue
        shorter, rewards, weight = min(map(len, at)), [], 1.0
        for side in (0, 1):
            lp, n = policy[side][i, at[side]], len(at[side])
            h = lp - ref[side][i, at[side]]
            if reward == "shared length":
                h = h * np.where(np.arange(n) < shorter, 1, LD)
            if reward == "per token":
                worth = h.sum() / n
            elif reward == "reference-free":
                worth = lp.sum() / n
            elif reward in DIVERGENCES:
                worth = DIVERGENCES[reward][1](h.sum())
            else:
                worth = h.sum()
            rewards.append(BETA * worth)
            excess = still[side][i, at[side]] - squares[side][i, at[side]]
            weight *= np.exp(excess.mean())
        cost = NOISE[noise][1](LINKS[link][1], rewards[0] - rewards[1])
        costs.append(cost * (min(weight, 1.0) if by == "WPO" else 1.0))
    return np.mean(costs)


@pytest.mark.parametrize(("reward", "link"), [*itertools.product(REWARDS, LINKS)])
def test_preferences(reward, link):
    """Rewards x links x weights x label noise."""
    policy, _, _, _, direction = preference_inputs()
    values, slopes = preference_products()
    for product in itertools.product([reward], [link], WEIGHTS, NOISE):
        expected = preference_by_hand(product, policy, policy)
        np.testing.assert_allclose(values[product], expected, rtol=1e-9)
        ends = [
            Pair(*(p + s * d for p, d in zip(policy, direction, strict=True)))
            for s in (STEP, -STEP)
        ]
        up, down = (preference_by_hand(product, end, policy) for end in ends)
        slope = (up - down) / (2 * STEP)
        np.testing.assert_allclose(slopes[product], slope, rtol=1e-5, atol=1e-7)


def test_the_pairs_of_these_tests_are_on_both_sides_of_every_corner():
    policy, ref, mask, squares, _ = preference_inputs()
    valid = mask.chosen.any(-1) & mask.rejected.any(-1)
    with jax.enable_x64(True):
        weights = losses.wpo_weights(policy, mask, squares, max_weight=None)
        _, rewards = rewards_of("reverse KL", policy, ref, mask)
        margins = np.asarray(rewards.chosen - rewards.rejected)[valid]
        weights = np.asarray(weights)[valid]
    assert weights.min() < 1 < weights.max()
    assert margins.min() < 0 < 1 < margins.max()


# Policy gradients: levels x surrogates x aggregations x KL terms.

CLIP, CLIP_HIGH, DUAL, CAP_HIGH, TAUS = 0.1, 0.25, 1.3, 0.2, (1.0, 1.4)
LEVELS = {
    "token": lambda tokens: tokens,
    "sequence": losses.sequence_level,
    "sequence by token": losses.sequence_token_level,
}


def clipped(r, a):
    bounded = min(max(r, 1 - CLIP), 1 + CLIP_HIGH)
    return -min(r * a, bounded * a)


def tau(a):
    return TAUS[0] if a > 0 else TAUS[1]


BOUNDS = {"clip": CLIP, "clip_high": CLIP_HIGH}
SURROGATES = {
    "none": (
        lambda x: losses.unclipped_surrogate(x.log_ratio, x.advantages),
        lambda r, a, lp, still: -r * a,
    ),
    "clipped": (
        lambda x: losses.clipped_surrogate(x.log_ratio, x.advantages, **BOUNDS),
        lambda r, a, lp, still: clipped(r, a),
    ),
    "dual clip": (
        lambda x: losses.dual_clipped_surrogate(
            x.log_ratio, x.advantages, dual_clip=DUAL, **BOUNDS
        ),
        lambda r, a, lp, still: (
            clipped(r, a) if a >= 0 else min(clipped(r, a), -DUAL * a)
        ),
    ),
    "CISPO": (
        lambda x: losses.cispo_surrogate(
            x.log_ratio, x.advantages, x.logps, clip=CLIP, clip_high=CAP_HIGH
        ),
        lambda r, a, lp, still: -min(max(still, 1 - CLIP), 1 + CAP_HIGH) * a * lp,
    ),
    "SAPO": (
        lambda x: losses.sapo_surrogate(
            x.log_ratio,
            x.advantages,
            temperature=TAUS[0],
            negative_temperature=TAUS[1],
        ),
        lambda r, a, lp, still: -4 / tau(a) * sigmoid(tau(a) * (r - 1)) * a,
    ),
}
AGGREGATIONS = {
    "tokens": (ops.token_mean, lambda rows: np.mean(np.concatenate(rows))),
    "responses": (ops.sequence_mean, lambda rows: np.mean([*map(np.mean, rows)])),
    "fixed": (
        functools.partial(ops.fixed_length, max_length=9),
        lambda rows: np.mean([np.sum(row) / 9 for row in rows]),
    ),
}
KL = {
    "no KL": (lambda new, ref, mask: 0 * new, lambda lr: 0),
    "k2": (ops.kl_k2, lambda lr: lr**2 / 2),
    "k3": (ops.kl_k3, lambda lr: np.exp(-lr) - 1 + lr),
    "k1 x ratio": (ops.kl_k1, lambda lr: lr),
    "k3 x ratio": (ops.kl_k3, lambda lr: np.exp(-lr) - 1 + lr),
}
POLICIES = [*itertools.product(LEVELS, SURROGATES, AGGREGATIONS, KL)]
KL_WEIGHT = 0.3


def policy_inputs() -> Any:
    rng = np.random.default_rng(1)
    old = logps(rng, 12, 6).astype(float)
    new = old + 0.4 * rng.normal(size=old.shape)
    ref = old + 0.3 * rng.normal(size=old.shape)
    advantages, direction = rng.normal(size=(2, *old.shape))
    mask = mask_with_gaps(rng, 12, 6)
    mask[2] = False
    weights = abs(rng.normal(size=old.shape))
    return new, old, advantages, mask, weights, ref, direction


@functools.cache
def policy_products():
    """Of every product: its value, and its derivative along the direction."""
    new, old, advantages, mask, weights, ref, direction = policy_inputs()

    def values(new):
        plain = losses.sampled_tokens(new, old, advantages, mask, weights)
        outs = []
        for level in LEVELS.values():
            tokens = level(plain)
            costs = stack(surrogate(tokens) for surrogate, _ in SURROGATES.values())
            terms = stack(
                estimate(new, ref, mask) * (tokens.ratio if "ratio" in name else 1.0)
                for name, (estimate, _) in KL.items()
            )

            def mean(cost, term, aggregate, tokens=tokens):
                out = losses.policy_output(
                    cost, tokens, aggregate, kl=term, beta=KL_WEIGHT
                )
                return out.loss.value

            means = [
                jax.vmap(jax.vmap(mean, (None, 0, None)), (0, None, None))(
                    costs, terms, aggregate
                )
                for aggregate, _ in AGGREGATIONS.values()
            ]
            outs.append(jnp.stack(means, axis=1).ravel())
        return jnp.concatenate(outs)

    with jax.enable_x64(True):
        found = jax.jit(lambda p, d: jax.jvp(values, (p,), (d,)))(new, direction)
        return [by_name(POLICIES, x) for x in found]


def policy_by_hand(product, new, still):
    """`still` is the policy of what has no gradient."""
    level, surrogate, aggregation, kl = product
    _, old, advantages, mask, weights, ref, _ = policy_inputs()
    rows = []
    for i, row in enumerate(mask):
        at = np.flatnonzero(row)
        if not len(at):
            continue
        costs = []
        moving, fixed = new[i, at] - old[i, at], still[i, at] - old[i, at]
        for j, t in enumerate(at):
            a, ratio, frozen = advantages[i, t], np.exp(moving[j]), np.exp(fixed[j])
            if level == "sequence":
                a, ratio, frozen = (
                    np.mean(advantages[i, at]),
                    np.exp(np.mean(moving)),
                    np.exp(np.mean(fixed)),
                )
            if level == "sequence by token":
                frozen = np.exp(np.mean(fixed))
                ratio = frozen * np.exp(new[i, t] - still[i, t])
            cost = weights[i, t] * SURROGATES[surrogate][1](ratio, a, new[i, t], frozen)
            estimate = KL[kl][1](new[i, t] - ref[i, t])
            cost += KL_WEIGHT * estimate * (ratio if "ratio" in kl else 1)
            costs.append(cost)
        rows.append(costs)
    return AGGREGATIONS[aggregation][1](rows)


@pytest.mark.parametrize(
    ("level", "surrogate"), [*itertools.product(LEVELS, SURROGATES)]
)
def test_policy_gradients(level, surrogate):
    """Levels x surrogates x aggregations x KL terms."""
    new, direction = policy_inputs()[0], policy_inputs()[-1]
    values, slopes = policy_products()
    for product in itertools.product([level], [surrogate], AGGREGATIONS, KL):
        expected = policy_by_hand(product, new, new)
        np.testing.assert_allclose(values[product], expected, rtol=1e-9)
        up, down = (
            policy_by_hand(product, new + s * direction, new) for s in (STEP, -STEP)
        )
        slope = (up - down) / (2 * STEP)
        np.testing.assert_allclose(slopes[product], slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("level", [*LEVELS])
def test_the_tokens_of_these_tests_are_on_both_sides_of_every_bound(level):
    new, old, advantages, mask, *_ = policy_inputs()
    with jax.enable_x64(True):
        tokens = losses.sampled_tokens(new, old, advantages, mask)
        tokens = LEVELS[level](tokens)
        ratio, a = np.asarray(tokens.ratio)[mask], np.asarray(tokens.advantages)[mask]
    assert ratio.min() < 1 - CLIP < 1 < 1 + CLIP_HIGH < ratio[a > 0].max()
    assert (ratio[a < 0] > DUAL).any() == (level != "sequence")
