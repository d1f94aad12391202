"""Rankings: Plackett–Luce probabilities by enumeration, and DPO as its K = 2."""

import itertools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.losses import Pair, dpo_loss
from tests.losses.losses_under_test import lengths_to_mask, logps

plackett_luce_nll: Any = losses.plackett_luce_nll  # NumPy arrays serve as well
plackett_luce_dpo_loss: Any = losses.plackett_luce_dpo_loss


def nll_in_numpy(scores):
    """Draw the best of what is left, again and again."""
    left, total = [float(s) for s in scores], 0.0
    while left:
        total -= math.log(math.exp(left[0]) / sum(map(math.exp, left)))
        left.pop(0)
    return total


def rankings(n=5, k=4, t=6) -> Any:
    rng = np.random.default_rng(0)
    mask = np.stack([lengths_to_mask(rng, n, t) for _ in range(k)], axis=1)
    policy, ref = (
        np.stack([logps(rng, n, t) for _ in range(k)], axis=1) for _ in range(2)
    )
    mask[0, 2:] = False  # two answers
    mask[1, 1] = False  # a gap
    mask[2, 1:] = False  # one answer alone: no ranking
    return policy, ref, mask


@pytest.mark.parametrize("k", [2, 3, 4])
def test_probabilities_of_all_orders_sum_to_one(k):
    scores = np.random.default_rng(k).normal(size=k).astype(np.float32)
    orders = scores[np.array(list(itertools.permutations(range(k))))]
    nll = plackett_luce_nll(orders, np.ones(orders.shape, bool))
    np.testing.assert_allclose(np.sum(np.exp(-nll)), 1, rtol=1e-6)
    np.testing.assert_allclose(nll, [nll_in_numpy(x) for x in orders], rtol=1e-5)


def test_a_constant_of_the_prompt_changes_nothing():
    scores = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    there = np.ones((3, 4), bool)
    got = plackett_luce_nll(scores + np.float32(3), there)
    np.testing.assert_allclose(got, plackett_luce_nll(scores, there), rtol=1e-5)


def test_two_answers_are_dpo():
    policy, ref, mask = (x[:, :2] for x in rankings())

    def ranked(policy):
        return plackett_luce_dpo_loss(policy, ref, mask, beta=0.3)

    def paired(policy):
        sides = [Pair(x[:, 0], x[:, 1]) for x in (policy, ref, mask)]
        return dpo_loss(*sides, beta=0.3)

    @jax.jit
    def both(policy):
        return [
            jax.value_and_grad(lambda p, f=f: f(p).loss.value)(policy)
            for f in (ranked, paired)
        ]

    got, expected = both(jnp.asarray(policy))
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-7)
    metrics = paired(policy).metrics
    chex.assert_trees_all_close(ranked(policy).metrics, metrics, rtol=1e-5)


def test_matches_numpy_with_answers_missing():
    policy, ref, mask = rankings()
    out = jax.jit(lambda *x: plackett_luce_dpo_loss(*x, beta=0.2))(policy, ref, mask)
    costs = []
    for i in range(5):
        answers = [k for k in range(4) if mask[i, k].any()]
        scores = [
            0.2 * np.sum((policy[i, k] - ref[i, k])[mask[i, k]], dtype=np.float64)
            for k in answers
        ]
        if len(answers) > 1:
            costs.append(nll_in_numpy(scores))
    np.testing.assert_allclose(out.loss.value, np.mean(costs), rtol=1e-5)
    assert out.loss.weight == len(costs) == 4
    assert out.metrics["rewards/accuracies"].weight == 1 + 3 + 6 + 6


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_gradients_are_finite_with_answers_missing(scale):
    policy, ref, mask = rankings()
    policy = np.where(mask, policy * np.float32(scale), np.nan)

    def value(policy):
        return plackett_luce_dpo_loss(policy, ref, mask, beta=1.0).loss.value

    loss, grads = jax.jit(jax.value_and_grad(value))(policy)
    assert np.isfinite(loss)
    assert np.all(np.isfinite(grads))
    assert not np.any(grads[2])
    assert not np.any(grads[~mask])
