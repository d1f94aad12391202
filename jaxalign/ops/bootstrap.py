"""How sure a mean over examples is: the bootstrap."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays, check_range


def bootstrap_interval(
    totals: jax.Array,
    weights: jax.Array,
    key: jax.Array,
    *,
    level: float = 0.95,
    num_resamples: int = 1000,
) -> tuple[jax.Array, jax.Array]:
    """The percentile interval of Σ totals / Σ weights when examples are redrawn.

    Efron's percentile method (https://doi.org/10.1214/aos/1176344552): n examples are
    drawn with replacement, many times, and the middle of what the ratio then was is the
    interval. What belongs together (the tokens of a text, the samples of a prompt) is
    one example with its own total and weight. Draws in which every weight is 0 are left
    out.

    Args:
      totals: `[n]`, n ≥ 1, what each example adds to the sum, float.
      weights: `[n]` ≥ 0, how much it counts, float.
      key: Consumed.
      level: Probability of the interval, in (0, 1).
      num_resamples: How often to draw.

    Returns:
      Its lower and upper end, scalars.

    >>> ends = bootstrap_interval(jnp.ones(5), jnp.ones(5), jax.random.key(0))
    >>> [float(x) for x in ends]
    [1.0, 1.0]
    """
    check_arrays(totals=(totals, "float[n]"), weights=(weights, "float[n]"))
    check_range("level", level, 0, 1, open_low=True)
    n = len(totals)

    def redrawn(key):
        drawn = jax.random.randint(key, (n,), 0, n)
        weight = jnp.sum(weights[drawn])
        ratio = jnp.sum(totals[drawn]) / jnp.where(weight > 0, weight, 1.0)
        return jnp.where(weight > 0, ratio, jnp.nan)

    # One draw after the other: all at once would hold n numbers for each of them.
    ratios = jax.lax.map(redrawn, jax.random.split(key, num_resamples))
    tail = (1 - level) / 2
    low, high = jnp.nanquantile(ratios, jnp.array([tail, 1 - tail], ratios.dtype))
    return low, high


def bootstrap_statistic(
    statistic: Callable[..., jax.Array],
    *arrays: jax.Array,
    key: jax.Array,
    level: float = 0.95,
    num_resamples: int = 1000,
) -> tuple[jax.Array, jax.Array]:
    """The percentile interval of any statistic when examples are redrawn.

    As `bootstrap_interval`, for what is no ratio of sums: a calibration error, an
    AUROC, an area. What is biased in small samples, as a calibration error is, is
    biased in the draws too. Draws without a value (NaN) are left out.

    Args:
      statistic: From the arrays to a scalar.
      *arrays: `[n, ...]` each, n ≥ 1; their first axis is redrawn, alike for all.
      key: Consumed.
      level: Probability of the interval, in (0, 1).
      num_resamples: How often to draw.

    Returns:
      Its lower and upper end, scalars.

    >>> ends = bootstrap_statistic(jnp.median, jnp.ones(5), key=jax.random.key(0))
    >>> [float(x) for x in ends]
    [1.0, 1.0]
    """
    chex.assert_equal_shape_prefix(arrays, 1)
    n = len(arrays[0])

    def redrawn(key):
        drawn = jax.random.randint(key, (n,), 0, n)
        return statistic(*(x[drawn] for x in arrays))

    values = jax.lax.map(redrawn, jax.random.split(key, num_resamples))
    tail = (1 - level) / 2
    low, high = jnp.nanquantile(values, jnp.array([tail, 1 - tail], values.dtype))
    return low, high
