"""Tokens of sampled responses: the level of their ratios, and the mean of their costs.

A policy loss is four lines: tokens are checked, ratios stay those of the tokens or
become those of whole responses, a surrogate says what a token costs, and an aggregation
of `ops` is the mean.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.errors import UserError
from jaxalign.losses.base import LossOutput, is_zero
from jaxalign.losses.surrogate import CAP, ratio_bounds
from jaxalign.ops import (
    Mean,
    capped_exp,
    check_arrays,
    kl_k3,
    masked,
    sum_dtype,
    token_mean,
)
from jaxalign.ops.checks import check_not_negative

Aggregate = Callable[[jax.Array, jax.Array], Mean]


class SampledTokens(NamedTuple):
    """Tokens of sampled responses, all `[..., T]` and zero where masked.

    Attributes:
      logps: Under the policy that is trained; the only ones with a gradient.
      log_ratio: log ρ, of that policy over the one that sampled.
      advantages: Of each token.
      mask: The tokens that count.
      weights: Factor of each token's loss, or None for 1.
      penalty: What each token costs besides, or None for 0.
    """

    logps: jax.Array
    log_ratio: jax.Array
    advantages: jax.Array
    mask: jax.Array
    weights: jax.Array | None = None
    penalty: jax.Array | None = None

    @property
    def ratio(self) -> jax.Array:
        """ρ, with a gradient."""
        return capped_exp(self.log_ratio, cap=CAP)

    def weighted(self, losses: jax.Array) -> jax.Array:
        """The losses times their weights."""
        return losses if self.weights is None else losses * self.weights


def sampled_tokens(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> SampledTokens:
    """Checks the arrays, stops gradients, and zeroes what is masked.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      weights: Factor of each token's loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      `SampledTokens`, whose ratios are those of the tokens.

    >>> one, mask = jnp.ones((1, 2)), jnp.array([[True, False]])
    >>> print(sampled_tokens(-one, -2 * one, one, mask).log_ratio)
    [[1. 0.]]
    """
    check_arrays(
        logps=(logps, "float[+, T]"),
        old_logps=(old_logps, "float[+, T]"),
        advantages=(advantages, "float[+, T]"),
        weights=(weights, "float|bool[+, T]"),
        penalty=(penalty, "float[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    old_logps, advantages = jax.lax.stop_gradient((old_logps, advantages))
    if weights is not None:
        weights = jnp.asarray(weights, sum_dtype(logps))
        weights = masked(jax.lax.stop_gradient(weights), mask)
    if penalty is not None:
        penalty = masked(penalty, mask)
    logps = masked(logps, mask)
    log_ratio = logps - masked(old_logps, mask)
    advantages = masked(advantages, mask)
    return SampledTokens(logps, log_ratio, advantages, mask, weights, penalty)


def sequence_level(tokens: SampledTokens) -> SampledTokens:
    """One ratio and one advantage for each response: the means over its tokens.

        s = exp((1/|y|) Σ_t log ρ_t)

    Eq. 7 of GSPO, https://arxiv.org/abs/2507.18071. Every token has its response's, so
    that any aggregation applies; its gradient is that of the whole response.

    Args:
      tokens: With the ratios of tokens.

    Returns:
      The same with those of responses.

    >>> one, mask = jnp.array([[1.0, 3.0]]), jnp.ones((1, 2), bool)
    >>> print(sequence_level(sampled_tokens(-one, one, one, mask)).log_ratio)
    [[-4. -4.]]
    """
    return tokens._replace(
        log_ratio=_means(tokens.log_ratio, tokens.mask),
        advantages=_means(tokens.advantages, tokens.mask),
    )


def sequence_token_level(tokens: SampledTokens) -> SampledTokens:
    """The value of the response's ratio with the gradient of each token's own.

        s_t = sg(s) π_t / sg(π_t)

    Eq. 13 of https://arxiv.org/abs/2507.18071, which allows an advantage for each
    token.

    Args:
      tokens: With the ratios of tokens.

    Returns:
      The same with these ratios; the advantages are as they were.

    >>> one, mask = jnp.array([[1.0, 3.0]]), jnp.ones((1, 2), bool)
    >>> print(sequence_token_level(sampled_tokens(-one, one, one, mask)).log_ratio)
    [[-4. -4.]]
    """
    value = jax.lax.stop_gradient(_means(tokens.log_ratio, tokens.mask))
    slope = tokens.logps - jax.lax.stop_gradient(tokens.logps)
    return tokens._replace(log_ratio=value + slope)


def _means(x: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean over the tokens of each response, at all of them."""
    lengths = jnp.maximum(jnp.sum(mask, axis=-1, keepdims=True), 1).astype(x.dtype)
    means = jnp.sum(x, axis=-1, keepdims=True) / lengths
    return masked(jnp.broadcast_to(means, x.shape), mask)


def policy_output(
    losses: jax.Array,
    tokens: SampledTokens,
    aggregate: Aggregate,
    *,
    kl: jax.Array | None = None,
    beta: float | jax.Array = 0.0,
    metrics: Mapping[str, Mean] | None = None,
) -> LossOutput:
    """The mean of what tokens cost, with a KL term under the same denominator.

    Args:
      losses: What each token costs, from a surrogate, `[..., T]`.
      tokens: Where the losses come from; their weights and penalties are applied.
      aggregate: `(values, mask) -> Mean`, such as `ops.token_mean`.
      kl: An estimate of the divergence from the reference at each token, `[..., T]`, as
        `kl_k3`; times `tokens.ratio` it is right for tokens of an older policy too.
      beta: Its weight, ≥ 0.
      metrics: None for `ratio_metrics`.

    Returns:
      The mean, and the metrics given, `policy_loss` (without KL and penalties),
      `advantage/abs_mean` and, with `kl`, `kl`.

    >>> one, mask = jnp.ones((1, 2)), jnp.ones((1, 2), bool)
    >>> tokens = sampled_tokens(-one, -one, one, mask)
    >>> print(policy_output(-tokens.ratio, tokens, token_mean).loss.value)
    -1.0
    """
    check_not_negative("beta", beta)
    mask = tokens.mask
    check_arrays(
        losses=(losses, "float[+, T]"),
        kl=(kl, "float[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    costs = tokens.weighted(losses)
    shown = dict(ratio_metrics(tokens) if metrics is None else metrics)
    shown["policy_loss"] = aggregate(costs, mask)
    shown["advantage/abs_mean"] = token_mean(jnp.abs(tokens.advantages), mask)
    if kl is not None:
        # Infinite where the reference finds a token impossible.
        costs = costs if is_zero(beta) else costs + beta * kl
        shown["kl"] = token_mean(kl, mask)
    elif not is_zero(beta):
        raise UserError(f"beta={beta} needs ref_logps; pass them, or beta=0")
    if tokens.penalty is not None:
        costs = costs + tokens.penalty
    return without_gradient(aggregate(costs, mask), shown)


def reference_kl(tokens: SampledTokens, ref_logps: jax.Array | None):
    """k3 at each token, or None without a reference."""
    if ref_logps is None:
        return None
    check_arrays(ref_logps=(ref_logps, "float[+, T]"), mask=(tokens.mask, "bool[+, T]"))
    return kl_k3(tokens.logps, ref_logps, tokens.mask)


def ratio_metrics(
    tokens: SampledTokens, mean: Aggregate = token_mean
) -> dict[str, Mean]:
    """Of every loss with a ratio.

    `policy/approxkl_avg` is ½ mean (log ρ)², `val/ratio` the mean of ρ, 1 while the
    policy is the one that sampled, `val/ratio_var` the mean of (ρ − 1)², its variance
    since the policy that sampled expects ρ = 1, and `policy/ratio_capped` the share of
    tokens beyond e^±20: 0 in a healthy run.

    Args:
      tokens: With their ratios.
      mean: Over tokens, or over responses: `ops.sequence_mean`.
    """
    log_ratio, ratio = tokens.log_ratio, tokens.ratio
    values = {
        "policy/approxkl_avg": 0.5 * jnp.square(log_ratio),
        "val/ratio": ratio,
        "val/ratio_var": jnp.square(ratio - 1),
        "policy/ratio_capped": jnp.abs(log_ratio) > CAP,
    }
    return {k: share(v, tokens, mean) for k, v in values.items()}


def clip_metrics(
    tokens: SampledTokens, clip, clip_high, mean: Aggregate = token_mean
) -> dict[str, Mean]:
    """`ratio_metrics`, and the shares of tokens whose gradient a bound stops.

    Args:
      tokens: With their ratios and advantages.
      clip: ε of the lower bound 1 − ε, and of the upper one if `clip_high` is None.
      clip_high: ε of the upper bound 1 + ε, or None.
      mean: Over tokens, or over responses: `ops.sequence_mean`.

    Returns:
      The metrics of `ratio_metrics`, and `clip_ratio/low_mean`, `high_mean` and
      `region_mean`.
    """
    low, high = ratio_bounds(clip, clip_high)
    below = (tokens.advantages < 0) & (tokens.ratio < low)
    above = (tokens.advantages > 0) & (tokens.ratio > high)
    return ratio_metrics(tokens, mean) | stopped_tokens(below, above, tokens, mean)


def stopped_tokens(below, above, tokens: SampledTokens, mean: Aggregate = token_mean):
    """The shares of tokens whose gradient a bound stops: lower, upper, either."""
    values = {"low_mean": below, "high_mean": above, "region_mean": below | above}
    return {f"clip_ratio/{k}": share(v, tokens, mean) for k, v in values.items()}


def share(x: jax.Array, tokens: SampledTokens, mean: Aggregate = token_mean) -> Mean:
    """The mean of a number or bool of each token."""
    return mean(x.astype(tokens.log_ratio.dtype), tokens.mask)


def without_gradient(loss: Mean, metrics: dict[str, Mean]) -> LossOutput:
    """A loss and its metrics, from which no gradient flows."""
    return LossOutput(loss, jax.lax.stop_gradient(metrics))
