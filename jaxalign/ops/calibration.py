"""How far stated probabilities are from observed frequencies."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxalign.ops.reduce import Mean, masked, sum_dtype


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
    margin = masked(margin, where)
    confidence = jax.nn.sigmoid(jnp.abs(margin))
    index = jnp.floor((confidence - 0.5) * 2 * num_bins)
    return _binned(confidence, 0.5 * (1.0 + jnp.sign(margin)), where, index, num_bins)


def equal_width_bins(
    confidence: jax.Array, correct: jax.Array, where: jax.Array, *, num_bins: int = 10
) -> Reliability:
    """Bins predictions by their stated probability of being right, [0, 1] split evenly.

    Args:
      confidence: In [0, 1], any shape, float.
      correct: Whether each was right, the same shape, bool.
      where: Which count, the same shape, bool.
      num_bins: Number of bins.

    Returns:
      The sums of each bin; a bin holds its lower end.

    >>> q, right = jnp.array([0.1, 0.5, 1.0]), jnp.array([False, True, True])
    >>> print(equal_width_bins(q, right, right | True, num_bins=2).count)
    [1. 2.]
    """
    _check(confidence, correct, where)
    confidence = masked(confidence, where)
    return _binned(
        confidence,
        correct.astype(confidence.dtype),
        where,
        jnp.floor(confidence * num_bins),
        num_bins,
    )


def equal_mass_bins(
    confidence: jax.Array, correct: jax.Array, where: jax.Array, *, num_bins: int = 10
) -> Reliability:
    """Bins predictions by the rank of their stated probability, as many in each.

    Of Nguyen & O'Connor (2015, https://arxiv.org/abs/1508.05154), adaptive binning.
    Among equal probabilities no order is made up: each counts as right as they are on
    average.

    Args:
      confidence: In [0, 1], any shape, float.
      correct: Whether each was right, the same shape, bool.
      where: Which count, the same shape, bool.
      num_bins: Number of bins.

    Returns:
      The sums of each bin. They do not add up over batches.

    >>> q, right = jnp.array([0.1, 0.2, 0.3, 1.0]), jnp.array([False, True, True, True])
    >>> print(equal_mass_bins(q, right, right | True, num_bins=2).correct)
    [1. 2.]
    """
    _check(confidence, correct, where)
    confidence, share, counts = _ranked(confidence, correct, where)
    rank = jnp.arange(len(confidence), dtype=confidence.dtype)
    index = jnp.floor(rank * num_bins / jnp.maximum(counts.sum(), 1.0))
    return _binned(confidence, share, counts > 0, index, num_bins)


def expected_calibration_error(bins: Reliability) -> jax.Array:
    """Σ_b (n_b / n) |accuracy_b − confidence_b|: Eq. 5 of Guo et al. (2017).

    https://arxiv.org/abs/1706.04599

    >>> bins = Reliability(jnp.array([2.0]), jnp.array([1.5]), jnp.array([2.0]))
    >>> print(expected_calibration_error(bins))
    0.25
    """
    gap = jnp.abs(bins.correct - bins.confidence).sum()
    return gap / jnp.maximum(bins.count.sum(), 1.0)


def brier_score(confidence: jax.Array, correct: jax.Array, where: jax.Array) -> Mean:
    """The mean of (q − 1[right])² (Brier 1950, Monthly Weather Review 78, 1–3).

    Args:
      confidence: q in [0, 1], any shape, float.
      correct: Whether each was right, the same shape, bool.
      where: Which count, the same shape, bool.

    Returns:
      The mean over those that count; 0 is best, 0.25 what a constant ½ gets.

    >>> q, right = jnp.array([1.0, 0.5]), jnp.array([True, True])
    >>> print(brier_score(q, right, right).value)
    0.125
    """
    _check(confidence, correct, where)
    error = masked(confidence, where)
    return Mean.of((error - correct.astype(error.dtype)) ** 2, where=where)


def auroc(confidence: jax.Array, correct: jax.Array, where: jax.Array) -> jax.Array:
    """The probability that a right prediction is stated with more confidence.

    Than a wrong one, both drawn at random, equal ones counting half: the area under the
    ROC curve, by the Mann–Whitney statistic (Hanley & McNeil 1982,
    https://doi.org/10.1148/radiology.143.1.7063747).

    Args:
      confidence: Any shape, float; only its order matters.
      correct: Whether each was right, the same shape, bool.
      where: Which count, the same shape, bool.

    Returns:
      Scalar; NaN where all are right or all are wrong.

    >>> q, right = jnp.array([0.9, 0.5, 0.5]), jnp.array([True, True, False])
    >>> print(auroc(q, right, right | True))
    0.75
    """
    _check(confidence, correct, where)
    flat, right, kept = confidence.ravel(), correct.ravel(), where.ravel()
    wrong = kept & ~right
    # The wrong ones in order; all others lie behind them, at infinity.
    below = jnp.sort(jnp.where(wrong, flat, jnp.inf))
    total, dtype = wrong.sum(), sum_dtype(confidence)
    # Half of those below, and half of those below or equal: ties count half.
    beaten = sum(
        jnp.minimum(jnp.searchsorted(below, flat, side=side), total).astype(dtype) / 2
        for side in ("left", "right")
    )
    # Each as a float: of 100,000 predictions int32 cannot hold the product.
    pairs = total.astype(dtype) * (kept & right).sum().astype(dtype)
    found = jnp.where(kept & right, beaten, 0.0).sum() / jnp.maximum(pairs, 1.0)
    return jnp.where(pairs > 0, found, jnp.nan)


class RiskCoverage(NamedTuple):
    """What is wrong among the most confident predictions, as more of them are kept.

    Attributes:
      coverage: `[n]`, the share that is kept, growing; the last are 1 where some of n
        do not count.
      risk: `[n]`, the share of those that is wrong.
      area: Scalar, the mean of `risk` over the predictions that count; small is good.
    """

    coverage: jax.Array
    risk: jax.Array
    area: jax.Array


def risk_coverage(
    confidence: jax.Array, correct: jax.Array, where: jax.Array
) -> RiskCoverage:
    """The risk–coverage curve of answering only when confident enough, and its area.

    El-Yaniv & Wiener (2010, https://jmlr.org/papers/v11/el-yaniv10a.html); the area is
    the AURC of Geifman, Uziel & El-Yaniv (2019, https://arxiv.org/abs/1805.08206):
    (1/n) Σ_k (wrong among the k most confident) / k. Equal confidences have no order:
    their errors are spread evenly, which is the mean over all orders.

    Args:
      confidence: Any shape with n elements, float; only its order matters.
      correct: Whether each was right, the same shape, bool.
      where: Which count, the same shape, bool.

    Returns:
      Coverage and risk after each prediction, the most confident first, both `[n]`; and
      the area.

    >>> q, right = jnp.array([0.9, 0.8, 0.1]), jnp.array([True, False, True])
    >>> curve = risk_coverage(q, right, right | True)
    >>> print(curve.risk, round(float(curve.area), 4))
    [0.         0.5        0.33333334] 0.2778
    """
    _check(confidence, correct, where)
    _, share, counts = _ranked(-confidence, correct, where)
    total = counts.sum()
    kept, wrong = jnp.cumsum(counts), jnp.cumsum((1.0 - share) * counts)
    risk = wrong / jnp.maximum(kept, 1.0)
    area = (risk * counts).sum() / jnp.maximum(total, 1.0)
    return RiskCoverage(kept / jnp.maximum(total, 1.0), risk, area)


def _check(confidence: jax.Array, correct: jax.Array, where: jax.Array) -> None:
    chex.assert_equal_shape([confidence, correct, where])
    chex.assert_type([confidence, correct, where], [float, bool, bool])


def _binned(
    confidence: jax.Array,
    correct: jax.Array,
    where: jax.Array,
    index: jax.Array,
    num_bins: int,
) -> Reliability:
    """Sums by bin number; those beyond the ends go into the bins there."""
    inside = jax.nn.one_hot(
        jnp.clip(index.astype(jnp.int32), 0, num_bins - 1).ravel(),
        num_bins,
        dtype=confidence.dtype,
    )
    inside = jnp.where(where.ravel()[:, None], inside, 0.0)
    return Reliability(
        inside.sum(0), confidence.ravel() @ inside, correct.ravel() @ inside
    )


def _ranked(
    confidence: jax.Array, correct: jax.Array, where: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sorted; how right each is, as the mean over its equals; 1 where it counts."""
    dtype = sum_dtype(confidence)
    flat = jnp.where(where.ravel(), confidence.ravel().astype(dtype), jnp.inf)
    order = jnp.argsort(flat)
    flat, counts = flat[order], where.ravel()[order].astype(dtype)
    right = correct.ravel()[order].astype(dtype) * counts
    new = jnp.concatenate([jnp.zeros(1, bool), flat[1:] != flat[:-1]])
    group, n = jnp.cumsum(new), len(flat)
    sums = jax.ops.segment_sum(right, group, n)
    sizes = jax.ops.segment_sum(counts, group, n)
    share = (sums / jnp.maximum(sizes, 1.0))[group]
    return jnp.where(counts > 0, flat, 0.0), share, counts
