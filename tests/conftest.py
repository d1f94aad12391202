"""Eight virtual CPU devices and strict promotion for every test."""

import os
import pathlib

import jax
import pytest

# Scripts that made the golden files need torch or transformers.
collect_ignore_glob = ["golden/*"]

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session")
def test_data() -> pathlib.Path:
    """The folder of real data sets that `JAXALIGN_TEST_DATA` names."""
    folder = os.environ.get("JAXALIGN_TEST_DATA")
    if not folder:
        pytest.skip("JAXALIGN_TEST_DATA is not set: no real data to test on")
    return pathlib.Path(folder)
