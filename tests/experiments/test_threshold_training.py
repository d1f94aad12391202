"""E12: training from samples goes where it pays, and rows say what a policy does."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e12_threshold import run as e12
from experiments.e12_threshold.train import ARMS, train
from experiments.e12_threshold.world import (
    World,
    answers_or_abstains,
    states_confidence,
)
from jaxalign.rewards.abstention import wrong_reward


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
        yield


WORLD = World(np.array([[0.9, 0.05, 0.03], [0.1, 0.02, 0.7], [0.02, 0.3, 0.06]]))


@pytest.mark.parametrize("t", [0.2, 0.8])
def test_a_trained_policy_answers_where_it_pays(t):
    """The best candidate if it is right often enough, and else nothing."""
    policy = train(WORLD, answers_or_abstains(t), seed=0, num_steps=200)
    best = [0, 2 if t < 0.7 else 3, 1 if t < 0.3 else 3]
    assert policy[range(3), best].min() > 0.8
    other = train(WORLD, answers_or_abstains(t), seed=1, num_steps=200)
    assert np.abs(other - policy).max() > 1e-6


def slope(arm, t, p, answers):
    """Of the chance to answer, where one answers now and then: over all groups of four.

    Each sample is right, wrong or silent; the score of a sample is 1 − `answers` if it
    answers and −`answers` if not.
    """
    chances = np.array([answers * p, answers * (1 - p), 1 - answers])
    rewards = np.array([1.0, wrong_reward(t), 0.0])
    scores = np.array([1 - answers, 1 - answers, -answers])
    groups = np.array([*itertools.product(range(3), repeat=4)])
    given = jnp.asarray(rewards[groups], jnp.float32)
    advantages = jax.jit(ARMS[arm].advantages)(given, jnp.ones(given.shape, bool))
    each = np.sum(np.asarray(advantages) * scores[groups], axis=1)
    return np.prod(chances[groups], axis=1) @ each


@pytest.mark.parametrize("t", [0.1, 0.25, 0.75, 0.9])
def test_leave_one_out_keeps_the_threshold_and_groups_deviations_make_it_a_half(t):
    for p in np.linspace(0.04, 0.96, 24):
        assert (slope("rloo_4", t, p, 0.05) > 0) == (p > t)
        if abs(p - 0.5) > 0.06:
            assert (slope("grpo_4", t, p, 0.05) > 0) == (p > 0.5)


def test_a_row_says_where_it_answers_and_what_that_costs():
    """Three questions: two answered with .6 and .9, at a threshold of one half."""
    actions = answers_or_abstains(0.5)
    world = World(np.array([[0.2, 0.1, 0.1], [0.1, 0.6, 0.1], [0.8, 0.1, 0.05]]))
    policy = np.array([[0.1, 0, 0, 0.9], [0, 0.6, 0, 0.4], [0.9, 0, 0, 0.1]])
    found = e12.row(e12.Config(threshold=0.5), world, actions, policy)
    # A wrong answer costs 1: right with p, an answer is worth 2 p − 1.
    regret = [0.1 * 0.6, 0.4 * 0.2, 0.1 * 0.6]
    wanted = {
        "answer_rate": (0.1 + 0.6 + 0.9) / 3,
        "crossing": 0.4,
        "crossing_error": 0.1,
        "regret": np.mean(regret),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


def test_a_row_says_how_far_the_stated_confidence_is_off():
    actions = states_confidence("brier", 3)  # 0, ½ and 1 of each of three
    policy = np.zeros((2, 9))
    policy[0, [1, 2]] = 0.5  # states .75 on average
    policy[1, 3] = 1.0
    world = World(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.2]]))
    found = e12.row(e12.Config(reward="brier"), world, actions, policy)
    assert found["confidence_error_max"] == pytest.approx(0.3)
    assert found["confidence_error_mean"] == pytest.approx((0.05 + 0.3) / 2)


@pytest.mark.parametrize("arm", ["exact", "trained", "grpo_4"])
def test_a_run_has_its_own_key_and_threshold(monkeypatch, arm):
    told = []

    def fake(world, actions, seed, num_steps, arm):
        told.append((seed, num_steps, arm))
        return np.eye(4)[np.full(len(world.right), 3)]  # never answers

    monkeypatch.setattr(e12, "train", fake)
    row = e12.run(e12.Config(arm, threshold=0.75, key=4, num_steps=9)).row
    if arm != "exact":
        assert told == [(4, 9, arm)]
        assert row["answer_rate"] == 0
    else:
        best = np.linspace(0.01, 0.99, 60)
        assert row["answer_rate"] == pytest.approx(np.mean(best > 0.75))
        assert row["regret"] == 0
