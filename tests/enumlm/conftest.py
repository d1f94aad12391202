"""Every test here runs in float64 on one small world."""

import jax
import pytest

from experiments.enumlm import World, expected, make_world, response_logps

BETA = 0.7


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def world() -> World:
    """The world of the reference values: 8 prompts with 63 responses each."""
    return make_world(0)


@pytest.fixture(scope="session")
def small() -> World:
    """3 prompts with 15 responses each: groups of three can be listed."""
    return make_world(1, max_length=3, num_prompts=3)


@pytest.fixture(scope="session")
def logits(small):
    """A policy that is not the reference."""
    with jax.enable_x64(True):
        noise = jax.random.normal(jax.random.key(0), small.ref_logits.shape)
        return small.ref_logits + 0.5 * noise


@pytest.fixture(scope="session")
def exact(small, logits):
    """∇(−J) of J = R − β KL, the gradient that a loss should have."""

    def loss(x):
        logps = response_logps(x, small.responses)
        gain = small.rewards - BETA * (logps - small.ref_logps)
        return -expected(logps, gain)

    with jax.enable_x64(True):
        return jax.jit(jax.grad(loss))(logits)
