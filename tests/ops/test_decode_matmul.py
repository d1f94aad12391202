"""The product of decoding is the product, for few rows and for many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.ops import rows_times


@pytest.mark.parametrize("rows", [1, 64, 65])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_numpy(rows, dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(rows, 24)), dtype)
    kernel = jnp.asarray(rng.normal(size=(40, 24)), dtype)
    got = jax.jit(rows_times)(x, kernel)
    assert got.dtype == jnp.float32
    want = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64).T
    np.testing.assert_allclose(got, want, atol=1e-5)
