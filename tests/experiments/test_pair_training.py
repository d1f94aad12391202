"""Losses of the library on all pairs at once, against loops in NumPy."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e01_frontier.reward import fit_rewards, linear_features
from experiments.enumlm import (
    PairLoss,
    Steps,
    count_preferences,
    logged,
    make_world,
    population_preferences,
    preference_loss,
    response_logps,
    train_on_pairs,
)

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def world():
    return make_world(1, max_length=3, num_prompts=2)


@pytest.fixture(scope="module")
def pairs(world):
    return count_preferences(world, 40, 0, flip=0.1)


@pytest.fixture(scope="module")
def logits(world):
    noise = np.random.default_rng(5).normal(size=world.ref_logits.shape)
    return world.ref_logits + 0.5 * noise


def by_hand(world, pairs, logits, cost):
    """Σ share · cost / Σ share · weight, pair by pair."""
    logps = np.asarray(response_logps(jnp.asarray(logits), world.responses))
    total = weight = 0.0
    for x, w, r in itertools.product(range(2), range(15), range(15)):
        h = logps[x] - world.ref_logps[x]
        parts = cost(logps[x], h, world.responses.mask.sum(-1), w, r)
        total += pairs[x, w, r] * parts[0]
        weight += pairs[x, w, r] * parts[1]
    return total / weight


COSTS = {
    "dpo_loss": lambda lp, h, n, w, r: (np.log1p(np.exp(-0.7 * (h[w] - h[r]))), 1),
    "unlikelihood_loss": lambda lp, h, n, w, r: (-lp[w] + 0.7 * lp[r], 1),
    "preferred_ft_loss": lambda lp, h, n, w, r: (-lp[w], n[w]),  # a mean over tokens
}
STRENGTH = {"dpo_loss": "beta", "unlikelihood_loss": "alpha", "preferred_ft_loss": ""}


@pytest.mark.parametrize("name", COSTS)
def test_the_loss_of_all_pairs_is_that_of_each_in_turn(world, pairs, logits, name):
    loss = PairLoss(name, STRENGTH[name])

    def of_pair(policy, ref, mask):
        return loss(policy, ref, mask, 0.7)

    found = preference_loss(world, pairs, jnp.asarray(logits), of_pair)
    expected = by_hand(world, pairs, logits, COSTS[name])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_keywords_of_a_loss_are_fixed_or_left_open():
    lp, mask = jnp.array([[-1.0]]), jnp.ones((1, 1), bool)
    told = PairLoss("dpo_loss", fixed=(("label_smoothing", 0.2),))
    sides = (-lp, lp), (lp, lp), (mask, mask)
    found = told(*sides, 0.5).loss.value
    by_hand = 0.8 * np.log1p(np.exp(-1.0)) + 0.2 * np.log1p(np.exp(1.0))
    np.testing.assert_allclose(found, by_hand, rtol=1e-12)


def test_the_first_update_goes_down_the_slope(world, pairs):
    """Adam's first step is the rate, whatever the size of the slope."""
    trained = train_on_pairs(
        world,
        jnp.asarray(pairs),
        jnp.float64(0.7),
        loss=PairLoss("dpo_loss"),
        steps=Steps(1, 0.01),
    )

    def cost(logits):
        return by_hand(world, pairs, logits, COSTS["dpo_loss"])

    slope = np.zeros_like(world.ref_logits)
    for at in np.ndindex(slope.shape):
        step = np.zeros_like(slope)
        step[at] = 1e-5
        ends = cost(world.ref_logits + step), cost(world.ref_logits - step)
        slope[at] = (ends[0] - ends[1]) / 2e-5
    flat = np.abs(slope) < 1e-7
    assert flat.mean() < 0.2
    wanted = response_logps(
        jnp.asarray(world.ref_logits - 0.01 * np.sign(slope) * ~flat), world.responses
    )
    np.testing.assert_allclose(trained.logps, wanted, atol=1e-5)
    kl = np.sum(np.exp(wanted) * (wanted - world.ref_logps), -1).mean()
    np.testing.assert_allclose(trained.kl, [kl], rtol=1e-3)
    ref = world.ref_logps
    forward = np.sum(np.exp(ref) * (ref - np.asarray(wanted)), -1).mean()
    assert abs(forward / kl - 1) > 3e-3
    np.testing.assert_allclose(trained.forward_kl, [forward], rtol=1e-3)


def test_every_so_many_steps_are_logged():
    reward, kl = jnp.arange(5.0), 10 * jnp.arange(5.0)
    assert logged(reward, kl, every=2, arm="a") == [
        {"arm": "a", "step": 2, "reward": 1.0, "kl": 10.0},
        {"arm": "a", "step": 4, "reward": 3.0, "kl": 30.0},
    ]


def test_a_learned_reward_is_the_gold_one_where_it_can_be():
    world = make_world(0, max_length=3, num_prompts=2, noise=0.0)
    pairs = population_preferences(world)
    features = linear_features(world)
    learned = np.asarray(fit_rewards(jnp.asarray(features), jnp.asarray(pairs), 1e-3))
    for mine, gold in zip(learned, world.rewards, strict=True):
        assert np.corrcoef(mine, gold)[0, 1] > 0.999
        assert 0.9 < mine.std() / gold.std() <= 1  # the ridge shrinks


def test_a_learned_reward_is_where_the_likelihood_is_level(world, pairs):
    """Σ share σ(−gap) (difference of features) = 2 · ridge · weights."""
    features = linear_features(world)
    scores = np.asarray(fit_rewards(jnp.asarray(features), jnp.asarray(pairs), 0.01))
    for x in range(2):
        weights, *_ = np.linalg.lstsq(features[x], scores[x], rcond=None)
        slope = np.zeros(features.shape[-1])
        for w, r in itertools.product(range(15), range(15)):
            pull = pairs[x, w, r] / (1 + np.exp(scores[x, w] - scores[x, r]))
            slope += pull * (features[x, w] - features[x, r])
        np.testing.assert_allclose(slope, 0.02 * weights, atol=1e-8)
