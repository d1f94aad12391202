"""E6: what is committed holds what it claims; proxies are what they say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from experiments.e06_overoptimisation import run as program
from experiments.e06_overoptimisation.curves import BETAS, Curve, curve, fit
from experiments.e06_overoptimisation.proxies import RIDGE, fit_linear, proxy_of
from experiments.e06_overoptimisation.run import EXPERIMENT
from experiments.enumlm import draw_preferences, make_world
from experiments.runner import read_rows
from tests.experiments.quick import assert_twice_the_same

RESULTS = EXPERIMENT.folder / "results.csv"


pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def world():
    return make_world(3, max_length=3, num_prompts=2, noise=1.0)


def test_reward_and_measure_are_two_things():
    """What a policy is paid is nowhere what it is measured by, and mostly more."""
    gaps = [x["proxy_end"] - x["gold_end"] for x in read_rows(RESULTS)]
    assert np.abs(gaps).min() > 1e-3
    assert np.mean(gaps) > 0.5


def test_the_linear_model_is_the_minimum_of_its_loss(world):
    """SciPy's BFGS on the loss written out with NumPy."""
    chosen, rejected = (x[1] for x in draw_preferences(world, 60, 5, scale=2.0))
    features = np.random.default_rng(0).normal(size=(len(world.rewards[0]), 4))

    def loss(w):
        gap = (features[chosen] - features[rejected]) @ w
        return np.mean(np.logaddexp(0, -gap)) + RIDGE * np.sum(w**2)

    expected = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    found = jax.jit(fit_linear)(jnp.asarray(features), chosen, rejected)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["single", pytest.param("ensemble_min", marks=pytest.mark.slow)]
)
def test_a_proxy_is_standardised_and_knows_the_gold_reward_from_pairs(world, kind):
    ref = np.exp(world.ref_logps)
    few, many = (proxy_of(kind, world, n, 0) for n in (20, 3000))
    for proxy in (few, many):
        np.testing.assert_allclose(np.sum(ref * proxy, -1), 0, atol=1e-9)
        np.testing.assert_allclose(np.sum(ref * proxy**2, -1), 1, atol=1e-9)
    agreement = [np.sum(ref * x * world.rewards, -1).mean() for x in (few, many)]
    assert agreement[0] < agreement[1]


def test_policies_go_by_the_proxy_alone(world):
    """The same proxy in a world of other gold rewards: the same way, another worth."""
    proxy = proxy_of("single", world, 100, 0)
    other = dataclasses.replace(world, rewards=-world.rewards)
    for optimiser in ("exact", "best_of_n"):
        one, two = (curve(optimiser, x, proxy, 0) for x in (world, other))
        np.testing.assert_allclose(one.kl, two.kl, atol=1e-12)
        np.testing.assert_allclose(one.proxy, two.proxy, atol=1e-12)
        np.testing.assert_allclose(one.gold, -two.gold, atol=1e-12)
    # Of one prompt, by hand.
    weights = np.exp(world.ref_logps[0] + proxy[0] / BETAS[30])
    law = weights / weights.sum()
    exact = curve("exact", world, proxy, 0)
    np.testing.assert_allclose(exact.gold[30, 0], law @ world.rewards[0], rtol=1e-9)


def test_the_published_forms_fit_themselves():
    kl = np.linspace(0.1, 9, 30)
    d = np.sqrt(kl)
    assert fit("best_of_n", kl, d * (2 - 0.3 * d)) == pytest.approx(1)
    assert fit("exact", kl, d * (2 - 0.3 * np.log(d))) == pytest.approx(1)
    assert fit("exact", kl, np.sin(5 * kl)) < 0.5


def test_an_ensemble_is_beside_one_model_of_the_same_pairs(monkeypatch):
    """Proxies that are numbers, and policies that end at them."""
    worth = {"single": 1.0, "ensemble_mean": 1.3, "dpo": 0.6}

    def proxy_of(kind, world, num_pairs, seed):
        return np.full(world.rewards.shape, worth[kind] + num_pairs + 10 * seed)

    def ends_at(optimiser, world, proxy, key):
        return Curve(*[np.linspace(0, proxy[:, 0], 8)] * 3)

    monkeypatch.setattr(program, "proxy_of", proxy_of)
    monkeypatch.setattr(program, "curve", ends_at)
    program._proxy.cache_clear()
    for kind, value in worth.items():
        config = program.Config(kind, "best_of_n", n_pairs=200, data_seed=4)
        row = program.run(config).row
        assert row["gold_end"] == pytest.approx(value + 240)
        assert row["gold_end_minus_single"] == pytest.approx(value - 1)
    program._proxy.cache_clear()


@pytest.mark.slow
def test_quick_run(tmp_path):
    assert len(assert_twice_the_same(EXPERIMENT, tmp_path)) == 20
