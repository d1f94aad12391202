"""How far stated probabilities are from observed frequencies."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxalign.ops.reduce import sum_dtype


class Reliability(NamedTuple):
    """A reliability diagram, as sums that add up over batches.

    Attributes:
      count: `[bins]`, predictions in each bin.
      confidence: `[bins]`, sum of their stated probabilities.
      correct: `[bins]`, how many were right.
    """

    count: jax.Array
    confidence: jax.Array
    correct: jax.Array


def reliability(
    margin: jax.Array, where: jax.Array, *, num_bins: int = 10
) -> Reliability:
    """Bins comparisons by how sure a Bradley-Terry model is of their outcome.

    The model takes the side with the higher score, with the probability σ(|margin|) of
    being right: so the confidence lies in [1/2, 1], which the bins split evenly.

    Args:
      margin: By how much the preferred answer's score is the higher one, any shape,
        float.
      where: Which comparisons count, the same shape, bool.
      num_bins: Number of bins.

    Returns:
      The sums of each bin. At a margin of 0 the model has no opinion: half right.

    >>> bins = reliability(jnp.array([0.1, -5.0]), jnp.array([True, True]), num_bins=2)
    >>> print(bins.count, bins.correct)
    [1. 1.] [1. 0.]
    """
    chex.assert_equal_shape([margin, where])
    chex.assert_type([margin, where], [float, bool])
    margin = jnp.where(where, margin.astype(sum_dtype(margin)), 0.0)
    confidence = jax.nn.sigmoid(jnp.abs(margin))
    index = jnp.floor((confidence - 0.5) * 2 * num_bins).astype(jnp.int32)
    inside = jax.nn.one_hot(
        jnp.clip(index, 0, num_bins - 1).ravel(), num_bins, dtype=margin.dtype
    )
    inside = jnp.where(where.ravel()[:, None], inside, 0.0)
    correct = 0.5 * (1.0 + jnp.sign(margin))
    return Reliability(
        inside.sum(0), confidence.ravel() @ inside, correct.ravel() @ inside
    )


def expected_calibration_error(bins: Reliability) -> jax.Array:
    """Σ_b (n_b / n) |accuracy_b − confidence_b|: Eq. 5 of Guo et al. (2017).

    https://arxiv.org/abs/1706.04599

    >>> bins = Reliability(jnp.array([2.0]), jnp.array([1.5]), jnp.array([2.0]))
    >>> print(expected_calibration_error(bins))
    0.25
    """
    gap = jnp.abs(bins.correct - bins.confidence).sum()
    return gap / jnp.maximum(bins.count.sum(), 1.0)
