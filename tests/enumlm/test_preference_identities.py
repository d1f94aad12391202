"""Where the preference losses have their optimum on infinitely many pairs."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.enumlm import (
    logits_of,
    optimum,
    population_preferences,
    preference_loss,
)
from jaxalign.losses import (
    Pair,
    bradley_terry_loss,
    dpo_loss,
    ipo_loss,
    kwise_loss,
    plackett_luce_dpo_loss,
    plackett_luce_loss,
    plackett_luce_nll,
    robust_dpo_loss,
)
from tests.enumlm.optima import (
    ipo_optimum,
    ranking_loss,
    rankings,
)


def gradient_norm(world, loss_of, flip=0.0):
    """Largest entry of the gradient of a loss on the population, as a function."""
    preferences = population_preferences(world, flip=flip)

    @jax.jit
    def largest(logits):
        gradient = jax.grad(lambda x: preference_loss(world, preferences, x, loss_of))
        return jnp.max(jnp.abs(gradient(logits)))

    return largest


@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_dpo_is_stationary_at_the_optimum_of_rl(small, beta):
    norm = gradient_norm(small, functools.partial(dpo_loss, beta=beta))
    best = optimum(small, beta)
    assert norm(logits_of(best, small.responses)) < 1e-13
    assert norm(small.ref_logits) > 1e-4

    implicit = beta * (best - small.ref_logps)
    gap = implicit - small.rewards
    np.testing.assert_allclose(gap, gap[:, :1] * np.ones((1, 15)), atol=1e-12)


def test_cdpo_is_stationary_where_the_margin_has_the_flipped_odds():
    one, mask = jnp.ones((1, 1)), jnp.ones((1, 1), bool)
    masks = Pair(mask, mask)

    def slope(margin, beta, flip):
        def loss(x):
            policy, ref = Pair(x * one, 0 * one), Pair(0 * one, 0 * one)
            return dpo_loss(policy, ref, masks, beta=beta, label_smoothing=flip)

        return jax.grad(lambda x: loss(x).loss.value)(margin)

    for beta, flip in ((0.5, 0.1), (2.0, 0.4)):
        margin = math.log((1 - flip) / flip) / beta
        assert abs(slope(margin, beta, flip)) < 1e-14
        assert slope(margin + 0.1, beta, flip) > 1e-3


def mean_loss(world, loss_of, flip=0.0):
    logits = world.ref_logits + jax.random.normal(
        jax.random.key(5), world.ref_logits.shape
    )
    preferences = population_preferences(world, flip=flip)
    return preference_loss(world, preferences, logits, loss_of)


def test_flipped_labels_make_dpo_its_conservative_form(small):
    flipped = mean_loss(small, functools.partial(dpo_loss, beta=0.6), flip=0.3)
    smoothed = functools.partial(dpo_loss, beta=0.6, label_smoothing=0.3)
    np.testing.assert_allclose(flipped, mean_loss(small, smoothed), rtol=1e-12)


def test_robust_dpo_undoes_the_flips(small):
    robust = functools.partial(robust_dpo_loss, beta=0.6, label_smoothing=0.3)
    clean = functools.partial(dpo_loss, beta=0.6)
    np.testing.assert_allclose(
        mean_loss(small, robust, flip=0.3), mean_loss(small, clean), rtol=1e-11
    )
    norm = gradient_norm(small, robust, flip=0.3)
    assert norm(logits_of(optimum(small, 0.6), small.responses)) < 1e-13


@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_ipo_is_stationary_at_its_closed_form(small, tau):
    norm = gradient_norm(small, functools.partial(ipo_loss, tau=tau))
    best = ipo_optimum(small, tau)
    assert norm(logits_of(best, small.responses)) < 1e-12
    assert norm(logits_of(optimum(small, tau), small.responses)) > 1e-3


def test_ipo_between_two_actions_stops_at_a_finite_margin():
    tau, one, mask = 0.2, jnp.ones((1, 1)), jnp.ones((1, 1), bool)

    def loss(logit):
        logps = jax.nn.log_softmax(jnp.stack([logit, jnp.zeros(())]))
        policy = Pair(logps[0] * one, logps[1] * one)
        uniform = Pair(-math.log(2) * one, -math.log(2) * one)
        return ipo_loss(policy, uniform, Pair(mask, mask), tau=tau).loss.value

    wanted = math.log(1 / (math.exp(-1 / (2 * tau)) + 1))
    at_optimum = jax.nn.log_softmax(jnp.array([1 / (2 * tau), 0.0]))[0]
    np.testing.assert_allclose(at_optimum, wanted, rtol=1e-12)
    assert abs(jax.grad(loss)(1 / (2 * tau))) < 1e-12
    assert jax.grad(loss)(1.0) < -0.1


@pytest.mark.parametrize("size", [2, 3])
def test_plackett_luce_dpo_is_stationary_at_the_optimum_of_rl(small, size):
    np.testing.assert_allclose(rankings(small, size)[1].sum(-1), 1, atol=1e-12)
    gradient = jax.jit(jax.grad(ranking_loss(small, size, beta=0.6)))
    best = jnp.asarray(logits_of(optimum(small, 0.6), small.responses))
    np.testing.assert_allclose(gradient(best), 0, atol=1e-13)
    assert jnp.max(jnp.abs(gradient(jnp.asarray(small.ref_logits)))) > 1e-3


def test_plackett_luce_is_a_distribution_over_orders():
    scores = jax.random.normal(jax.random.key(0), (4,), jnp.float64)
    orders = jnp.array(list(itertools.permutations(range(4))))
    mask = jnp.ones(4, bool)
    nll = jax.vmap(lambda order: plackett_luce_nll(scores[order], mask))(orders)
    np.testing.assert_allclose(jnp.sum(jnp.exp(-nll)), 1, rtol=1e-12)
    shifted = plackett_luce_nll(scores + 5.0, mask)
    np.testing.assert_allclose(shifted, plackett_luce_nll(scores, mask), rtol=1e-12)


def test_two_ranked_answers_are_a_pair():
    policy, ref = jax.random.normal(jax.random.key(1), (2, 2, 3), jnp.float64)
    mask = jnp.array([[True, True, False], [True, True, True]])
    ranked = plackett_luce_dpo_loss(policy, ref, mask, beta=0.3)
    sides = (Pair(*x[:, None]) for x in (policy, ref, mask))
    pair = dpo_loss(*sides, beta=0.3)
    np.testing.assert_allclose(ranked.loss.value, pair.loss.value, rtol=1e-12)


def test_rankings_of_scores_are_made_of_pairs():
    scores = jax.random.normal(jax.random.key(4), (4,), jnp.float64)
    mask, valid = jnp.ones(4, bool), jnp.ones((), bool)

    def of_pair(better, worse):
        pair = Pair(scores[better], scores[worse])
        return bradley_terry_loss(pair, valid).loss.value

    pairs = [of_pair(*pair) for pair in itertools.combinations(range(4), 2)]
    found = kwise_loss(scores, mask).loss.value
    np.testing.assert_allclose(found, sum(pairs) / 6, rtol=1e-12)
    for loss in (kwise_loss, plackett_luce_loss):
        of_two = loss(scores[:2], mask[:2]).loss.value
        np.testing.assert_allclose(of_two, of_pair(0, 1), rtol=1e-12)
        moved = loss(scores + 5.0, mask).loss.value
        np.testing.assert_allclose(moved, loss(scores, mask).loss.value, rtol=1e-12)
