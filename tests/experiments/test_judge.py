"""E8: committed results hold what is claimed; the judge against the library's."""

import jax
import numpy as np
import pytest

from experiments.e08_judge.judge import (
    NOISE,
    Judge,
    against_reference,
    in_both_orders,
    without_length,
)
from experiments.e08_judge.run import EXPERIMENT
from experiments.enumlm import make_world
from experiments.runner import read_rows
from jaxalign.rewards import preferences
from tests.experiments.quick import assert_twice_the_same

RESULTS = EXPERIMENT.folder / "results.csv"


@pytest.fixture(scope="module")
def world():
    return make_world(1, max_length=3, num_prompts=2)


def test_reward_and_measure_are_two_things():
    rows = read_rows(RESULTS)
    assert all(abs(x["paid"] - x["reward"]) > 1e-3 for x in rows)


def test_the_chances_are_means_over_the_noise(world):
    judge = Judge(gold=1.0, position=1.0, length=0.3)
    noise = NOISE * np.random.default_rng(0).normal(size=200_000)
    y, other = 3, 9
    gap = world.rewards[1, y] - world.rewards[1, other]
    longer = world.responses.lengths[y] - world.responses.lengths[other]
    chances = 1 / (1 + np.exp(-(gap + 1 + 0.3 * longer + noise)))
    found = judge.prefers_first(world)[1, y, other]
    assert found == pytest.approx(chances.mean(), abs=4 * chances.std() / 447)


def test_both_orders_are_the_mean_of_what_the_library_asks(world):
    """The judge as a server that replies at random, asked by `rewards.preferences`."""
    chances = Judge(gold=1.0, position=2.0, length=0.5).prefers_first(world)[0]
    rng = np.random.default_rng(3)

    def respond(requests):
        replies = []
        for request in requests:
            words = request.split()
            first, second = (int(x) for x in words[1:3])
            wins = rng.random() < chances[first, second]
            replies.append("[[A]]" if wins else "[[B]]")
        return replies

    both = in_both_orders(chances[None])[0]
    for y, other in ((0, 5), (7, 2), (11, 4)):
        times = 4000
        asked = preferences(
            respond,
            ["?"] * times,
            [str(y)] * times,
            [str(other)] * times,
            template="{prompt} {first} {second}",
        )
        assert asked.mean() == pytest.approx(both[y, other], abs=0.03)


def test_both_orders_cancel_the_place_exactly(world):
    biased = Judge(gold=1.0, position=2.0, length=0.5).prefers_first(world)
    both = in_both_orders(biased)
    np.testing.assert_allclose(both + both.swapaxes(1, 2), 1, atol=1e-15)
    assert np.abs(biased + biased.swapaxes(1, 2) - 1).max() > 0.3


def test_the_penalty_leaves_no_slope_on_the_length(world):
    """The partial slope, from residuals: another road than the regression's."""
    chances = in_both_orders(Judge(1.0, 1.0, 0.5).prefers_first(world))
    rewards = against_reference(world, chances)
    weight = np.exp(world.ref_logps).ravel()
    lengths = np.broadcast_to(world.responses.lengths, rewards.shape).ravel()

    def residual(x):
        gold = np.stack([np.ones(weight.shape), world.rewards.ravel()])
        gram = (gold * weight) @ gold.T
        return x - np.linalg.solve(gram, (gold * weight) @ x) @ gold

    free = residual(lengths.astype(float))
    for given, is_biased in ((rewards, True), (without_length(world, rewards), False)):
        slope = np.sum(weight * free * given.ravel()) / np.sum(weight * free**2)
        assert (abs(slope) > 0.01) == is_biased


@pytest.mark.slow
def test_quick_run(tmp_path):
    with jax.numpy_dtype_promotion("standard"):
        assert len(assert_twice_the_same(EXPERIMENT, tmp_path)) == 29
