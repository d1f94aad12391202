"""Masked means that stay exact when summed over microbatches and devices."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays


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
    check_arrays(x=(x, "float[...]"), mask=(mask, "bool[...]"))
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
        check_arrays(x=(x, "float|int|bool[...]"), where=(where, "bool[...]"))
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


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SumOfMeans(Mean):
    """A sum of means, each with a denominator of its own, as `sum_of_means` makes it.

    It travels as a `Mean` does: parts add up term by term, and each term is divided by
    its own weight once, at the end. One total would not do, for what a term is divided
    by is not known before all parts are there.

    Attributes:
      total: `[k]`, the sums of k terms, with their factors.
      weight: `[k]`, what each is divided by.
    """

    @property
    def value(self) -> jax.Array:
        """The sum of the k means; a term of which everything was masked adds 0."""
        return jnp.sum(self.total / jnp.maximum(self.weight, 1.0), axis=-1)


def sum_of_means(*terms: tuple[float | jax.Array, Mean]) -> SumOfMeans:
    """Σₖ cₖ meanₖ, exact over microbatches and devices whatever the denominators.

    Args:
      *terms: Pairs of a factor, Python or traced, and a mean.

    Returns:
      The sum; its terms are those of all means, in their order.

    >>> pairs = Mean(jnp.array(6.0), jnp.array(3.0))
    >>> tokens = Mean(jnp.array(5.0), jnp.array(10.0))
    >>> half = sum_of_means((1.0, pairs), (0.1, tokens))
    >>> print(half.value, (half + half).value)
    2.05 2.05
    """
    totals = [jnp.atleast_1d(factor * mean.total) for factor, mean in terms]
    weights = [jnp.atleast_1d(mean.weight) for _, mean in terms]
    wide = any(x.dtype == jnp.float64 for x in totals)
    dtype = jnp.float64 if wide else jnp.float32

    def joined(parts) -> jax.Array:
        return jnp.concatenate([x.astype(dtype) for x in parts])

    return SumOfMeans(joined(totals), joined(weights))
