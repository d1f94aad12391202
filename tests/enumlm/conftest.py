"""Every test here runs in float64 on one small world."""

import jax
import pytest

from experiments.enumlm import World, make_world


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
