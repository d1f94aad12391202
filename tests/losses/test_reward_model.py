"""Reward-model losses against NumPy and their identities."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxalign.losses
from jaxalign.losses import Pair
from tests.losses.reward_cases import ranked, ranked_with_ties, score_pairs

losses: Any = jaxalign.losses


def rng():
    return np.random.default_rng(0)


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.mark.parametrize("center", [0.0, 0.1])
@pytest.mark.parametrize("with_margin", [False, True])
def test_bradley_terry(center, with_margin):
    scores, valid, margin = score_pairs(rng(), 7, 1)
    rows = []
    for i in np.flatnonzero(valid):
        w, ell = float(scores.chosen[i]), float(scores.rejected[i])
        m = float(margin[i]) if with_margin else 0.0
        loss = softplus(-(w - ell - m)) + center * (w + ell) ** 2
        rows.append([loss, w > ell, w - ell, (w + ell) / 2])
    out = losses.bradley_terry_loss(
        scores, valid, margin=margin if with_margin else None, center=center
    )
    names = "accuracy", "margin", "mean_reward"
    got = [out.loss.value, *(out.metrics[name].value for name in names)]
    np.testing.assert_allclose(got, np.mean(rows, axis=0), rtol=1e-5)


@pytest.mark.parametrize("ties", [False, True])
def test_kwise_is_the_mean_over_pairs_of_each_prompt(ties):
    scores, mask, ranks = ranked_with_ties(rng(), 8, 4)
    if not ties:
        ranks = np.broadcast_to(np.arange(4.0), ranks.shape)
    prompts = []
    for s, m, r in zip(scores, mask, ranks, strict=True):
        there = np.flatnonzero(m)
        pairs = [(i, j) for i in there for j in there if r[i] < r[j]]
        if pairs:
            prompts.append(np.mean([softplus(float(s[j]) - s[i]) for i, j in pairs]))
    out = losses.kwise_loss(scores, mask, ranks=ranks if ties else None)
    np.testing.assert_allclose(out.loss.value, np.mean(prompts), rtol=1e-5)
    assert out.loss.weight == len(prompts)


def ranking_probability(scores, top):
    p = 1.0
    for k in range(top):
        p *= np.exp(scores[k]) / np.sum(np.exp(scores[k:]))
    return p


@pytest.mark.parametrize("top", [None, 1, 2])
def test_plackett_luce(top):
    scores, mask = ranked(rng(), 8, 4)
    prompts = []
    for s, m in zip(scores.astype(np.float64), mask, strict=True):
        if m.sum() >= 2:
            known = min(top or m.sum(), m.sum())
            prompts.append(-np.log(ranking_probability(s[m], known)))
    out = losses.plackett_luce_loss(scores, mask, top=top)
    np.testing.assert_allclose(out.loss.value, np.mean(prompts), rtol=1e-5)
    assert out.loss.weight == len(prompts)


def test_probabilities_of_all_orders_add_up_to_one():
    """Identity 8."""
    scores, mask = rng().normal(size=4).astype(np.float32), np.ones((24, 4), bool)
    orders = np.array([scores[list(o)] for o in itertools.permutations(range(4))])
    nll = losses.plackett_luce_nll(orders, mask)
    np.testing.assert_allclose(np.exp(-nll).sum(), 1, rtol=1e-5)
    shifted = losses.plackett_luce_nll(orders + np.float32(3), mask)
    np.testing.assert_allclose(nll, shifted, rtol=1e-4)


@pytest.mark.parametrize("loss", [losses.plackett_luce_loss, losses.kwise_loss])
def test_two_answers_are_bradley_terry(loss):
    scores = rng().normal(size=(5, 2)).astype(np.float32)
    got = loss(scores, np.ones((5, 2), bool))
    pair = Pair(scores[:, 0], scores[:, 1])
    expected = losses.bradley_terry_loss(pair, np.ones(5, bool))
    np.testing.assert_allclose(got.loss.value, expected.loss.value, rtol=1e-6)
    for name in ("accuracy", "margin", "mean_reward"):
        one, other = (x.metrics[name].value for x in (got, expected))
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_smaller_score_that_is_closer_costs_less_in_regression():
    scores, targets = jnp.array([[1.0, 2.0]]), jnp.array([[3.0, jnp.nan]])
    known = jnp.array([[True, False]])
    grad = jax.grad(lambda s: losses.regression_loss(s, targets, known).loss.value)(
        scores
    )
    np.testing.assert_allclose(grad, [[-4.0, 0.0]])
