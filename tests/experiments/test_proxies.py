"""E6: PPO sees the proxy alone; which pairs a proxy has; peaks and ends of a curve."""

import dataclasses

import numpy as np
import pytest

from experiments.e03_estimators.train import Plan
from experiments.e06_overoptimisation import curves
from experiments.e06_overoptimisation.curves import FIXED, TRAINED_BETAS, Curve, summary
from experiments.e06_overoptimisation.proxies import proxy_of
from experiments.enumlm import draw_preferences, make_world

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def world():
    return make_world(3, max_length=3, num_prompts=2, noise=1.0)


def test_ppo_goes_by_the_proxy_alone(world, monkeypatch):
    """In a world of opposite gold rewards: the same way, the opposite worth."""
    monkeypatch.setattr(curves, "Plan", lambda: Plan(5, num_groups=8))
    proxy = np.random.default_rng(0).normal(size=world.rewards.shape)
    other = dataclasses.replace(world, rewards=-world.rewards)
    one, two = (curves.curve("ppo", x, proxy, 0) for x in (world, other))
    assert len(one.kl) == len(TRAINED_BETAS)
    assert one.kl[-1].min() > 0.01
    np.testing.assert_allclose(one.kl, two.kl, atol=1e-12)
    np.testing.assert_allclose(one.gold, -two.gold, atol=1e-12)


def test_a_curve_is_summed_up_prompt_by_prompt():
    """Two prompts whose peaks are elsewhere; the proxy peaks elsewhere again."""
    fixed = int(np.flatnonzero(np.array(TRAINED_BETAS) == FIXED)[0])
    gold = np.array(
        [[0.1, 0], [0.8, 0.1], [0.5, 0.4], [0.3, 0.3], [0.25, 0.2], [0.2, 0.35]]
    )
    kl = np.arange(12.0).reshape(6, 2)
    proxy = np.linspace(0, 3, 6)[:, None] * np.array([1.0, 2.0])
    found = summary("ppo", Curve(kl, proxy, gold))
    wanted = {
        "peak": (0.8 + 0.4) / 2,
        "peak_kl": (2 + 5) / 2,
        "gold_end": (0.2 + 0.35) / 2,
        "kl_end": (10 + 11) / 2,
        "proxy_end": (3 + 6) / 2,
        "drop": (0.6 + 0.05) / 2,
        "drop_share": 0.5,
        "drop_from_fixed": gold[fixed].mean() - 0.275,
        "proxy_rises": 1.0,
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    falls = summary("ppo", Curve(kl, proxy[::-1], gold))
    assert falls["proxy_rises"] == 0


@pytest.mark.parametrize("kind", ["single", "dpo"])
def test_a_proxy_likes_what_its_own_pairs_prefer(world, kind):
    """And pairs of another seed make another proxy."""
    one, again, other = (proxy_of(kind, world, 20, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1
    pairs = draw_preferences(world, 20, 0, scale=2.0)
    for x in range(2):
        likes = (one[x, y[x]].mean() for y in (pairs.chosen, pairs.rejected))
        assert next(likes) > next(likes) + 0.3
