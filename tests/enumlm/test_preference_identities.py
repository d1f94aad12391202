"""Where the preference losses have their optimum on infinitely many pairs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.enumlm import (
    logits_of,
    optimum,
    population_preferences,
    preference_loss,
)
from jaxalign.losses import dpo_loss


def gradient_norm(world, loss_of, flip=0.0):
    """Largest entry of the gradient of a loss on the population, as a function."""
    preferences = population_preferences(world, flip=flip)

    @jax.jit
    def largest(logits):
        gradient = jax.grad(lambda x: preference_loss(world, preferences, x, loss_of))
        return jnp.max(jnp.abs(gradient(logits)))

    return largest


@pytest.mark.parametrize("beta", [0.3, 2.0])
def test_dpo_is_stationary_at_the_optimum_of_rl(small, beta):
    norm = gradient_norm(small, functools.partial(dpo_loss, beta=beta))
    best = optimum(small, beta)
    assert norm(logits_of(best, small.responses)) < 1e-13
    assert norm(small.ref_logits) > 1e-4

    implicit = beta * (best - small.ref_logps)
    gap = implicit - small.rewards
    np.testing.assert_allclose(gap, gap[:, :1] * np.ones((1, 15)), atol=1e-12)
