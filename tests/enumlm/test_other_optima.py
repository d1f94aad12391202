"""What KTO, SimPO and ORPO aim at on infinitely many pairs, which is not R − β KL.

SimPO without a margin to exceed is stationary at π(y) = exp(|y| (r/β + c)), the odds
term of ORPO at π(y) = σ(r + c)^|y|, c(x) making either sum to 1; the reference is in
neither. ORPO's likelihood alone gives π ∝ P(y is chosen)/|y|. KTO has no optimum
inside: what is chosen more often than not is pushed up for ever.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.enumlm import (
    logits_of,
    population_preferences,
    preference_loss,
    response_logps,
)
from jaxalign.losses import orpo_loss, simpo_loss
from tests.enumlm.optima import (
    kto_population,
    odds_optimum,
    simpo_optimum,
    without_reference,
)


def gradient(world, logps, loss_of):
    preferences = population_preferences(world)
    loss = functools.partial(preference_loss, world, preferences, loss_of=loss_of)
    return jax.jit(jax.grad(loss))(jnp.asarray(logits_of(logps, world.responses)))


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_simpo_without_a_margin_aims_at_reward_per_token(small, beta):
    best = simpo_optimum(small, beta)
    np.testing.assert_allclose(np.exp(best).sum(-1), 1, atol=1e-12)
    loss = without_reference(simpo_loss, beta=beta, gamma=0.0)
    np.testing.assert_allclose(gradient(small, best, loss), 0, atol=1e-12)
    with_margin = without_reference(simpo_loss, beta=beta, gamma=0.5 * beta)
    assert jnp.max(jnp.abs(gradient(small, best, with_margin))) > 1e-3
    assert jnp.max(jnp.abs(gradient(small, small.ref_logps, loss))) > 1e-3


def test_likelihood_of_orpo_aims_at_what_is_chosen_by_length(small):
    chosen = population_preferences(small).sum(-1)
    weights = chosen / small.responses.lengths
    best = np.log(weights / weights.sum(-1, keepdims=True))
    likelihood = without_reference(orpo_loss, odds_weight=0.0)
    np.testing.assert_allclose(gradient(small, best, likelihood), 0, atol=1e-13)


def test_odds_of_orpo_aim_at_the_reward(small):
    best = odds_optimum(small)
    np.testing.assert_allclose(np.exp(best).sum(-1), 1, atol=1e-12)
    both, likelihood = (
        gradient(small, best, without_reference(orpo_loss, odds_weight=weight))
        for weight in (0.7, 0.0)
    )
    np.testing.assert_allclose(both, likelihood, atol=1e-12)
    at_ref = [
        gradient(small, small.ref_logps, without_reference(orpo_loss, odds_weight=w))
        for w in (0.7, 0.0)
    ]
    assert jnp.max(jnp.abs(at_ref[0] - at_ref[1])) > 1e-3


@pytest.mark.parametrize("z0", [0.0, 0.3])
def test_kto_pushes_by_the_sign_of_the_majority(small, z0):
    """−β/2 Σ (P_chosen − P_rejected) σ'(β (h − z₀)) ∇log π, whatever the odds are."""
    beta = 0.8
    noise = jax.random.normal(jax.random.key(2), small.ref_logits.shape)
    logits = small.ref_logits + noise
    found = jax.grad(kto_population, argnums=1)(small, logits, jnp.float64(z0), beta)

    pairs = population_preferences(small)
    majority = pairs.sum(-1) - pairs.sum(-2)
    h = np.asarray(response_logps(logits, small.responses)) - small.ref_logps
    p = 1 / (1 + np.exp(-beta * (h - z0)))
    pull = jnp.asarray(-beta / 2 * majority * p * (1 - p))

    def by_hand(x):
        return jnp.mean(jnp.sum(pull * response_logps(x, small.responses), axis=-1))

    np.testing.assert_allclose(found, jax.grad(by_hand)(logits), atol=1e-13)
