"""What is true of the optimum of R − β KL, of the frontier and of best-of-n."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.enumlm import (
    best_of_n_logps,
    evaluate,
    expected,
    kl_divergence,
    optimum,
    response_logps,
)
from experiments.enumlm.exact import optimal_value


def random_policy(world, seed=0):
    noise = jax.random.normal(jax.random.key(seed), world.ref_logits.shape)
    return response_logps(world.ref_logits + noise, world.responses)


def objective(world, logps, beta):
    return expected(logps, world.rewards - beta * (logps - world.ref_logps))


@pytest.mark.parametrize("beta", [0.25, 1.0])
def test_regret_is_the_divergence_from_the_optimum(world, beta):
    best = optimal_value(world, beta)
    at_optimum = objective(world, optimum(world, beta), beta)
    np.testing.assert_allclose(best, at_optimum, rtol=1e-12)

    logps = random_policy(world)
    regret = best - objective(world, logps, beta)
    divergence = kl_divergence(logps, optimum(world, beta))
    np.testing.assert_allclose(regret, beta * divergence, rtol=1e-10)
    rho = evaluate(world, logps, beta).rho
    gain_of_ref = best - objective(world, jnp.asarray(world.ref_logps), beta)
    np.testing.assert_allclose(rho, regret / gain_of_ref, rtol=1e-10)


def test_slope_of_the_frontier_is_beta(world):
    ends = [optimum(world, beta) for beta in (0.5 - 1e-4, 0.5 + 1e-4)]
    rewards = [expected(x, world.rewards) for x in ends]
    divergences = [kl_divergence(x, world.ref_logps) for x in ends]
    slope = (rewards[1] - rewards[0]) / (divergences[1] - divergences[0])
    assert slope == pytest.approx(0.5, abs=1e-7)


def test_no_policy_is_above_the_frontier(world):
    for seed in range(3):
        logps = random_policy(world, seed)
        assert evaluate(world, logps, 1.0).efficiency < 1
    best_of_4 = best_of_n_logps(jnp.asarray(world.ref_logps), world.rewards, 4)
    assert 0.8 < evaluate(world, best_of_4, 1.0).efficiency < 1
    tilted = optimum(world, 0.7)
    assert evaluate(world, tilted, 1.0).efficiency == pytest.approx(1, abs=1e-9)


def test_best_of_n_diverges_less_than_its_bound(world):
    ref = jnp.asarray(world.ref_logps)
    gaps = []
    for n in (1, 2, 16, 1024):
        law = best_of_n_logps(ref, world.rewards, n)
        np.testing.assert_allclose(jnp.sum(jnp.exp(law), -1), 1, atol=1e-10)
        gaps.append(math.log(n) - (n - 1) / n - kl_divergence(law, ref))
    assert gaps[0] == pytest.approx(0, abs=1e-12)
    assert all(a < b for a, b in itertools.pairwise(gaps))
    assert gaps[2] > 0.05


def test_the_bound_is_reached_where_no_response_has_mass():
    gaps = []
    for size in (300, 600):
        ref = jnp.full((1, size), -math.log(size))
        law = best_of_n_logps(ref, np.arange(float(size))[None], 8)
        gaps.append(math.log(8) - 7 / 8 - kl_divergence(law, ref))
    assert 0 < gaps[1] < 0.6 * gaps[0] < 0.01
