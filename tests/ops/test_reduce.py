"""Means that are kept as sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.ops import Mean, masked


def test_parts_of_unequal_weight_add_up_to_the_mean_of_the_whole():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 5)).astype(np.float32)
    where = np.arange(5) < np.array([[5], [1], [0], [2], [5], [3]])
    arrays = jnp.asarray(x), jnp.asarray(where)
    parts = [Mean.of(*(a[i : i + 2] for a in arrays)) for i in (0, 2, 4)]
    got = (parts[0] + parts[1] + parts[2]).value
    np.testing.assert_allclose(got, np.ma.array(x, mask=~where).mean(), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.int32, jnp.bool_])
def test_sums_are_float32(dtype):
    """In bfloat16 this sum would stick at 256."""
    mean = Mean.of(jnp.ones(1000, dtype), where=jnp.ones(1000, bool))
    assert mean.total.dtype == mean.weight.dtype == jnp.float32
    assert mean.total == mean.weight == 1000


def test_a_mean_of_nothing_is_zero_and_has_no_gradient():
    x, nothing = jnp.full(3, jnp.nan), jnp.zeros(3, bool)
    value, grad = jax.value_and_grad(lambda x: Mean.of(x, where=nothing).value)(x)
    assert value == 0
    np.testing.assert_array_equal(grad, np.zeros(3))


def test_masked_cuts_the_gradient_of_what_it_hides():
    mask = jnp.array([True, False])
    grad = jax.grad(lambda x: jnp.exp(masked(x, mask)).sum())(jnp.array([0.0, jnp.inf]))
    np.testing.assert_array_equal(grad, [1, 0])


def test_a_mask_that_is_not_bool_is_refused():
    with pytest.raises(UserError, match="bool"):
        Mean.of(jnp.ones(2), where=jnp.ones(2))
