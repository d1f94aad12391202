"""E10: what is committed holds what it claims; data and fits against other roads."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from experiments.e10_reward_models.linear import RIDGE, fit
from experiments.e10_reward_models.rankings import draw, inputs, margins
from experiments.e10_reward_models.run import EXPERIMENT, variance
from experiments.e10_reward_models.transformer import SIZE, batches_of
from experiments.enumlm import make_world
from tests.experiments.quick import assert_twice_the_same

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def world():
    return make_world(0, max_length=3, num_prompts=1, noise=0.0)


def test_rankings_follow_the_law_of_plackett_and_luce(world):
    """Of all rankings of the same three, as many in each order as the law says."""
    ranked = np.asarray(draw(world, jax.random.key(0), 400_000, 3))
    likeliest = np.argsort(-world.ref_logps[0])[:3]
    same = ranked[(np.sort(ranked, 1) == np.sort(likeliest)).all(1)]
    worth = np.exp(world.rewards[0])
    for order in itertools.permutations(likeliest):
        chance = 1.0
        for k in range(3):
            chance *= worth[order[k]] / sum(worth[j] for j in order[k:])
        share = (same == np.array(order)).all(1).mean()
        error = (chance * (1 - chance) / len(same)) ** 0.5
        assert abs(share - chance) < 4 * error


@pytest.mark.parametrize("arm", ["margin", "centered", "plackett_luce", "kwise"])
def test_a_fit_is_the_minimum_of_its_loss(world, arm):
    """SciPy's BFGS on the losses written out with loops."""
    size = 3 if arm in ("plackett_luce", "kwise") else 2
    ranked = np.asarray(draw(world, jax.random.key(0), 25, size))
    clear = np.asarray(margins(world, jnp.asarray(ranked[:, :2])))
    features = inputs(world)

    def loss(weights):
        total = 0.0
        for row, margin in zip((features @ weights)[ranked], clear, strict=True):
            if arm == "plackett_luce":
                total += sum(np.logaddexp.reduce(row[k:]) - row[k] for k in range(size))
            else:
                pairs = list(itertools.combinations(row, 2))
                off = margin if arm == "margin" else 0.0
                total += np.mean([np.logaddexp(0, -(a - b - off)) for a, b in pairs])
            if arm == "centered":
                total += 0.01 * (row[0] + row[1]) ** 2
        return total / len(ranked) + RIDGE * np.sum(weights**2)

    start = np.zeros(features.shape[1])
    expected = minimize(loss, start, method="BFGS", options={"gtol": 1e-7})
    scores = np.asarray(fit(arm, world, 25, size, (0,)))[0]
    np.testing.assert_allclose(scores, features @ expected.x, atol=2e-4)


def test_shuffled_pairs_are_those_of_the_rankings(world):
    key = jax.random.key(4)
    together = batches_of("together", world, key, 0, epochs=2)
    shuffled = batches_of("shuffled", world, key, 0, epochs=2)
    assert together.shape[:2] == shuffled.shape[:2]
    pairs = list(itertools.combinations(range(SIZE), 2))
    for one, other in zip(together, shuffled, strict=True):
        wanted = one.reshape(-1, SIZE)[:, pairs].reshape(-1, 2)
        given = other.reshape(-1, 2)
        assert sorted(map(tuple, wanted)) == sorted(map(tuple, given))


def test_a_shift_of_all_scores_is_no_variance(world):
    scores = np.random.default_rng(0).normal(size=(5, len(world.rewards[0])))
    shifted = scores + np.arange(5)[:, None]
    assert variance(world, shifted) == pytest.approx(variance(world, scores))
    assert variance(world, scores[:1] + np.arange(5)[:, None]) < 1e-20


@pytest.mark.slow
def test_quick_run(tmp_path):
    assert len(assert_twice_the_same(EXPERIMENT, tmp_path)) == 6
