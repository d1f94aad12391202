"""Masked means that stay exact when summed over microbatches and devices."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp


def sum_dtype(x: jax.Array | jax.ShapeDtypeStruct) -> Any:
    """In what type to sum `x`: float32 for all but float64, which stays as it is.

    >>> print(jnp.dtype(sum_dtype(jnp.ones(2, jnp.bfloat16))))
    float32
    """
    return jnp.float64 if x.dtype == jnp.float64 else jnp.float32


def masked(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Zero wherever `mask` is False, in a type to sum in; the first thing to do.

    Inf and NaN in padding are gone before arithmetic could spread them into values or
    gradients.

    Args:
      x: Any shape, float.
      mask: The same shape, bool.

    Returns:
      The same shape, float32 (float64 for float64 `x`).

    >>> print(masked(jnp.array([1.0, jnp.inf]), jnp.array([True, False])))
    [1. 0.]
    """
    chex.assert_equal_shape([x, mask])
    chex.assert_type([x, mask], [float, bool])
    return jnp.where(mask, x.astype(sum_dtype(x)), 0.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mean:
    """A weighted mean, kept as its two sums so that parts add up exactly.

    The mean of two microbatches is not the mean of their means unless both hold
    the same number of unmasked elements. Sums do add, so sums are what travels:
    `a + b` merges microbatches and `jax.lax.psum(a, axis)` merges devices.

    Attributes:
      total: Scalar, the sum of the unmasked elements.
      weight: Scalar, how many elements that was.

    >>> a = Mean.of(jnp.array([1.0, 2.0]), where=jnp.array([True, True]))
    >>> b = Mean.of(jnp.array([6.0, 9.0]), where=jnp.array([True, False]))
    >>> print((a + b).value)
    3.0
    """

    total: jax.Array
    weight: jax.Array

    @classmethod
    def of(cls, x: jax.Array, where: jax.Array) -> "Mean":
        """Sums `x` in float32 over the elements where the bool `where` is set.

        Args:
          x: Any shape, float, integer or bool.
          where: The same shape, bool.

        Returns:
          The sum and the count, float32 (float64 for float64 `x`).
        """
        chex.assert_equal_shape([x, where])
        chex.assert_type(where, bool)
        dtype = sum_dtype(x)
        total = jnp.sum(x, dtype=dtype, where=where)
        return cls(total, jnp.sum(where, dtype=dtype))

    def __add__(self, other: "Mean") -> "Mean":
        """The mean over both parts."""
        return jax.tree.map(jnp.add, self, other)

    @property
    def value(self) -> jax.Array:
        """The mean itself; 0, not NaN, if everything was masked."""
        return self.total / jnp.maximum(self.weight, 1.0)
