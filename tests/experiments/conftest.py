"""Exact experiments compute in float64."""

import jax
import pytest


@pytest.fixture
def float64():
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield
