"""Weights for tokens that another policy sampled, and masks of those to learn from.

All go into a loss as `weights`: the denominator stays the number of sampled tokens, and
none of them has a gradient. They correct the gap between the sampler and the trainer at
the same parameters, and are no part of PPO's ratio.
"""

import math

import jax
import jax.numpy as jnp

from jaxalign.losses.surrogate import CAP
from jaxalign.ops import capped_exp, check_arrays, masked
from jaxalign.ops.checks import check_not_negative, check_positive, check_range


def truncated_importance_weights(
    logps: jax.Array,
    sampler_logps: jax.Array,
    mask: jax.Array,
    *,
    low: float = 0.0,
    cap: float | None = 2.0,
) -> jax.Array:
    """π/π_sampler of each token within bounds: biased, but of bounded variance.

        clip(π/π_sampler, low, C)

    Ionides, https://doi.org/10.1198/106186008X320456.

    Args:
      logps: Of the sampled tokens under the trainer at the time of the rollout,
        `[..., T]`, float.
      sampler_logps: Of the same tokens, as the sampler had them, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      low: The least weight, ≥ 0.
      cap: C > 0, the greatest; None for none.

    Returns:
      `[..., T]`, 0 where masked.

    >>> logps, mask = jnp.log(jnp.array([[0.5, 0.5, 0.5]])), jnp.ones((1, 3), bool)
    >>> sampler = jnp.log(jnp.array([[0.5, 0.1, 1.0]]))
    >>> print(truncated_importance_weights(logps, sampler, mask))
    [[1.  2.  0.5]]
    """
    check_not_negative("low", low)
    check_positive("cap", cap, infinite=True)
    ratio = capped_exp(_log_ratio(logps, sampler_logps, mask), cap=CAP)
    return jnp.where(mask, jnp.clip(ratio, low, cap), 0.0)


def masked_importance_weights(
    logps: jax.Array,
    sampler_logps: jax.Array,
    mask: jax.Array,
    *,
    low: float = 0.5,
    high: float | None = 5.0,
) -> jax.Array:
    """π/π_sampler of each token, and 0 where it is out of a band.

    A token on which the two disagree that much tells of an error, and is not learned
    from: IcePop, https://arxiv.org/abs/2510.18855.

    Args:
      logps: Of the sampled tokens under the trainer at the time of the rollout,
        `[..., T]`, float.
      sampler_logps: Of the same tokens, as the sampler had them, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      low: Lower end of the band, ≥ 0.
      high: Upper end of the band, > 0; None for none.

    Returns:
      `[..., T]`, 0 where masked.

    >>> logps, mask = jnp.log(jnp.array([[0.5, 0.5, 0.5]])), jnp.ones((1, 3), bool)
    >>> sampler = jnp.log(jnp.array([[0.5, 0.05, 0.25]]))
    >>> print(masked_importance_weights(logps, sampler, mask))
    [[1. 0. 2.]]
    """
    check_not_negative("low", low)
    check_positive("high", high, infinite=True)
    ratio = capped_exp(_log_ratio(logps, sampler_logps, mask), cap=CAP)
    inside = (ratio >= low) & (ratio <= (math.inf if high is None else high))
    return jnp.where(mask & inside, ratio, 0.0)


def sequence_importance_weights(
    logps: jax.Array,
    sampler_logps: jax.Array,
    mask: jax.Array,
    *,
    low: float = 0.0,
    cap: float | None = 2.0,
) -> jax.Array:
    """π(y)/π_sampler(y) of each response within bounds, at all of its tokens.

        clip(π(y)/π_sampler(y), low, C)

    The ratio of whole responses has no bias apart from the bound; it is a product over
    tokens, so in long responses it is nearly always far from 1.

    Args:
      logps: Of the sampled tokens under the trainer at the time of the rollout,
        `[..., T]`, float.
      sampler_logps: Of the same tokens, as the sampler had them, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      low: The least weight, ≥ 0.
      cap: C > 0, the greatest; None for none.

    Returns:
      `[..., T]`, 0 where masked.

    >>> logps, mask = jnp.log(jnp.array([[0.5, 0.5]])), jnp.ones((1, 2), bool)
    >>> sampler = jnp.log(jnp.array([[0.5, 1.0]]))
    >>> print(sequence_importance_weights(logps, sampler, mask))
    [[0.5 0.5]]
    """
    check_not_negative("low", low)
    check_positive("cap", cap, infinite=True)
    total = jnp.sum(_log_ratio(logps, sampler_logps, mask), axis=-1, keepdims=True)
    weight = jnp.clip(capped_exp(total, cap=CAP), low, cap)
    return masked(jnp.broadcast_to(weight, mask.shape), mask)


def masked_sequence_importance_weights(
    logps: jax.Array,
    sampler_logps: jax.Array,
    mask: jax.Array,
    *,
    low: float = 0.5,
    high: float | None = 2.0,
) -> jax.Array:
    """π(y)/π_sampler(y) of each response, and 0 for those that are out of a band.

    The sequence form of `masked_importance_weights`: a response that the sampler would
    hardly have written with the trainer's numbers is left out as a whole.

    Args:
      logps: Of the sampled tokens under the trainer at the time of the rollout,
        `[..., T]`, float.
      sampler_logps: Of the same tokens, as the sampler had them, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      low: Lower end of the band, ≥ 0.
      high: Upper end of the band, > 0; None for none.

    Returns:
      `[..., T]`, 0 where masked.

    >>> logps, mask = jnp.log(jnp.full((2, 2), 0.5)), jnp.ones((2, 2), bool)
    >>> sampler = jnp.log(jnp.array([[0.5, 0.4], [0.1, 0.5]]))
    >>> print(masked_sequence_importance_weights(logps, sampler, mask))
    [[1.25 1.25]
     [0.   0.  ]]
    """
    check_not_negative("low", low)
    check_positive("high", high, infinite=True)
    total = jnp.sum(_log_ratio(logps, sampler_logps, mask), axis=-1, keepdims=True)
    ratio = capped_exp(total, cap=CAP)
    inside = (ratio >= low) & (ratio <= (math.inf if high is None else high))
    weight = jnp.where(inside, ratio, 0.0)
    return masked(jnp.broadcast_to(weight, mask.shape), mask)


def off_policy_mask(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    threshold: float,
) -> jax.Array:
    """Leaves out bad responses that the policy has moved away from.

        keep unless A < 0 and (1/|y|) Σ_t log(π_old/π) > δ

    DeepSeek-V3.2, https://arxiv.org/abs/2512.02556: to learn from one's mistakes they
    must still be one's own.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, the same sign for all of a response, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      threshold: δ, in nats a token.

    Returns:
      `[..., T]`, bool: the tokens to keep.

    >>> old, mask = jnp.array([[-1.0], [-1.0]]), jnp.ones((2, 1), bool)
    >>> advantages = jnp.array([[-1.0], [1.0]])
    >>> print(off_policy_mask(old - 2, old, advantages, mask, threshold=1.0).ravel())
    [False  True]
    """
    check_arrays(advantages=(advantages, "float[+, T]"), mask=(mask, "bool[+, T]"))
    lengths = jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1)
    gap = -jnp.sum(
        _log_ratio(logps, old_logps, mask, "old_logps"), axis=-1, keepdims=True
    )
    total = jnp.sum(masked(advantages, mask), axis=-1, keepdims=True)
    drop = (total < 0) & (gap / lengths.astype(gap.dtype) > threshold)
    return mask & ~jnp.broadcast_to(drop, mask.shape)


def entropy_threshold(
    entropy: jax.Array, mask: jax.Array, *, fraction: float = 0.2
) -> jax.Array:
    """The entropy that the given fraction of tokens exceeds or equals.

    A quantile of the whole batch: compute it over all of it, before it is split.

    Args:
      entropy: Of the policy at each token in nats, any shape, float.
      mask: The tokens that count, the same shape, bool.
      fraction: The share of tokens to keep, in (0, 1].

    Returns:
      A scalar; inf if nothing counts.

    >>> entropy = jnp.array([0.1, 0.4, 0.2, 0.3, 9.0])
    >>> mask = jnp.array([True, True, True, True, False])
    >>> print(entropy_threshold(entropy, mask, fraction=0.5))
    0.3
    """
    check_range("fraction", fraction, 0, 1, open_low=True, closed_high=True)
    check_arrays(entropy=(entropy, "float[...]"), mask=(mask, "bool[...]"))
    descending = -jnp.sort(-jnp.where(mask, entropy, -jnp.inf), axis=None)
    count = jnp.sum(mask)
    # Less a little: in float32 a product that should be whole may lie just above.
    keep = jnp.ceil(fraction * count.astype(jnp.float32) - 1e-4).astype(jnp.int32)
    threshold = descending[jnp.maximum(keep, 1) - 1]
    return jax.lax.stop_gradient(jnp.where(count > 0, threshold, math.inf))


def high_entropy_mask(
    entropy: jax.Array, mask: jax.Array, threshold: jax.Array
) -> jax.Array:
    """The tokens at which the policy is undecided: the forks, which are worth learning.

    Wang et al., https://arxiv.org/abs/2506.01939, who keep the upper 20 % of a batch.

    Args:
      entropy: Of the policy at each token in nats, `[..., T]`, float.
      mask: The tokens that count, `[..., T]`, bool.
      threshold: A scalar, from `entropy_threshold` over the whole batch.

    Returns:
      `[..., T]`, bool.

    >>> mask = jnp.array([True, True, False])
    >>> print(high_entropy_mask(jnp.array([0.1, 0.4, 0.9]), mask, jnp.array(0.3)))
    [False  True False]
    """
    check_arrays(
        entropy=(entropy, "float[...]"),
        mask=(mask, "bool[...]"),
    )
    check_arrays(threshold=(threshold, "float[]"))
    return mask & (entropy >= threshold)


def _log_ratio(logps, other_logps, mask, other: str = "sampler_logps"):
    check_arrays(
        logps=(logps, "float[+, T]"),
        **{other: (other_logps, "float[+, T]")},
        mask=(mask, "bool[+, T]"),
    )
    logps, other_logps = jax.lax.stop_gradient((logps, other_logps))
    return masked(logps, mask) - masked(other_logps, mask)
