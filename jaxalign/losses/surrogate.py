"""What the losses of sampled responses are made of: ratios, clips and their metrics."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput
from jaxalign.ops import (
    Mean,
    capped_exp,
    check_arrays,
    kl_k3,
    masked,
    sum_dtype,
    token_mean,
)
from jaxalign.ops.checks import check_not_negative, check_positive, check_range

CAP = 20.0


class Sampled(NamedTuple):
    """Tokens of sampled responses, zero where masked.

    Attributes:
      logps: Under the policy that is trained; the only ones with a gradient.
      log_ratio: log ρ, of that policy over the one that sampled.
      advantages: Of each token.
      weights: Factor of each token's loss, or None for 1.
      mask: The tokens that count.
    """

    logps: jax.Array
    log_ratio: jax.Array
    advantages: jax.Array
    weights: jax.Array | None
    mask: jax.Array

    def weighted(self, losses: jax.Array) -> jax.Array:
        """The losses times their weights."""
        return losses if self.weights is None else losses * self.weights


def sampled(logps, old_logps, advantages, mask, weights=None) -> Sampled:
    """Checks the arrays, stops gradients, and zeroes what is masked."""
    check_arrays(
        logps=(logps, "float[+, T]"),
        old_logps=(old_logps, "float[+, T]"),
        advantages=(advantages, "float[+, T]"),
        weights=(weights, "float|bool[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    old_logps, advantages = jax.lax.stop_gradient((old_logps, advantages))
    if weights is not None:
        weights = jnp.asarray(weights, sum_dtype(logps))
        weights = masked(jax.lax.stop_gradient(weights), mask)
    logps = masked(logps, mask)
    log_ratio = logps - masked(old_logps, mask)
    return Sampled(logps, log_ratio, masked(advantages, mask), weights, mask)


def clipped_surrogate(
    log_ratio: jax.Array,
    advantages: jax.Array,
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
) -> jax.Array:
    """−min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), elementwise, with ρ = exp(log ratio).

    Eq. 7 of Schulman et al., https://arxiv.org/abs/1707.06347. Beyond e^±20 the ratio
    stays as it is and has no gradient. Mask both arguments before.

    Args:
      log_ratio: log π − log π_old, any shape, float.
      advantages: A, the same shape, float.
      clip: ε below 1, ≥ 0.
      clip_high: ε above 1; None for the same.

    Returns:
      The same shape.

    >>> log_ratio = jnp.log(jnp.array([2.0, 2.0, 0.5, 0.5]))
    >>> print(clipped_surrogate(log_ratio, jnp.array([1.0, -1.0, 1.0, -1.0])))
    [-1.2  2.  -0.5  0.8]
    """
    ratio = capped_exp(log_ratio, cap=CAP)
    clipped = jnp.clip(ratio, 1 - clip, 1 + (clip if clip_high is None else clip_high))
    return -jnp.minimum(ratio * advantages, clipped * advantages)


def check_clip(clip, clip_high):
    """Refuses bounds that are negative, or a lower one above 1."""
    check_range("clip", clip, 0, 1, closed_high=True)
    if clip_high is not None:
        check_positive("clip_high", clip_high, infinite=True)


def clipped_below(log_ratio, advantages, clip):
    """Where the lower bound stops the gradient: A < 0 and ρ < 1 − ε."""
    return (advantages < 0) & (capped_exp(log_ratio, cap=CAP) < 1 - clip)


def clipped_above(log_ratio, advantages, clip, clip_high):
    """Where the upper bound stops the gradient: A > 0 and ρ > 1 + ε."""
    high = clip if clip_high is None else clip_high
    return (advantages > 0) & (capped_exp(log_ratio, cap=CAP) > 1 + high)


def ratio_metrics(tokens: Sampled) -> dict[str, Mean]:
    """Of every loss with a ratio.

    `policy/approxkl_avg` is ½ mean (log ρ)², `val/ratio` the mean of ρ, 1 while the
    policy is the one that sampled, `val/ratio_var` the mean of (ρ − 1)², its variance
    since the policy that sampled expects ρ = 1, and `policy/ratio_capped` the share of
    tokens beyond e^±20: 0 in a healthy run.
    """
    log_ratio, mask = tokens.log_ratio, tokens.mask
    ratio = capped_exp(log_ratio, cap=CAP)
    return {
        "policy/approxkl_avg": Mean.of(0.5 * jnp.square(log_ratio), where=mask),
        "val/ratio": Mean.of(ratio, where=mask),
        "val/ratio_var": Mean.of(jnp.square(ratio - 1), where=mask),
        "policy/ratio_capped": Mean.of(jnp.abs(log_ratio) > CAP, where=mask),
    }


def clip_metrics(tokens: Sampled, clip, clip_high) -> dict[str, Mean]:
    """`ratio_metrics`, and the shares of tokens whose gradient a bound stops."""
    ratio = capped_exp(tokens.log_ratio, cap=CAP)
    high = clip if clip_high is None else clip_high
    below = (tokens.advantages < 0) & (ratio < 1 - clip)
    above = (tokens.advantages > 0) & (ratio > 1 + high)
    return ratio_metrics(tokens) | {
        "clip_ratio/low_mean": Mean.of(below, where=tokens.mask),
        "clip_ratio/high_mean": Mean.of(above, where=tokens.mask),
        "clip_ratio/region_mean": Mean.of(below | above, where=tokens.mask),
    }


def without_gradient(loss: Mean, metrics: dict[str, Mean]) -> LossOutput:
    """A loss and its metrics, from which no gradient flows."""
    return LossOutput(loss, jax.lax.stop_gradient(metrics))


def policy_output(
    policy: Mean,
    tokens: Sampled,
    metrics: dict[str, Mean],
    aggregate: Callable[..., Mean],
    beta,
    ref_logps: jax.Array | None,
) -> LossOutput:
    """A policy loss plus β k3, aggregated alike; metrics of both.

    They are `policy_loss`, `advantage/abs_mean` and, with a reference, `kl`.
    """
    check_not_negative("beta", beta)
    metrics = metrics | {
        "policy_loss": policy,
        "advantage/abs_mean": token_mean(jnp.abs(tokens.advantages), tokens.mask),
    }
    if ref_logps is None:
        if not (isinstance(beta, int | float) and beta == 0):
            raise ValueError(f"beta={beta} needs ref_logps; pass them, or beta=0")
        return without_gradient(policy, metrics)
    check_arrays(ref_logps=(ref_logps, "float[+, T]"), mask=(tokens.mask, "bool[+, T]"))
    kl = kl_k3(tokens.logps, ref_logps, tokens.mask)
    loss = Mean(policy.total + beta * aggregate(kl, tokens.mask).total, policy.weight)
    return without_gradient(loss, metrics | {"kl": token_mean(kl, tokens.mask)})
