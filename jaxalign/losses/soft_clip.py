"""Losses that bound the ratio without cutting tokens off from the gradient."""

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput
from jaxalign.losses.sampled import (
    policy_output,
    ratio_metrics,
    reference_kl,
    sampled_tokens,
    share,
)
from jaxalign.losses.surrogate import (
    check_clip,
    cispo_surrogate,
    ratio_bounds,
    sapo_surrogate,
)
from jaxalign.ops import sequence_mean, token_mean
from jaxalign.ops.checks import check_positive


def cispo_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 1.0,
    clip_high: float | None = 4.0,
    beta: float = 0.0,
    ref_logps: jax.Array | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """CISPO: the policy gradient, weighted by a clipped ratio.

        −sg(clip(ρ, 1 − ε_low, 1 + ε_high)) A log π

    Eq. 4 and 5 of MiniMax-M1, https://arxiv.org/abs/2506.13585. The ratio is a weight
    without a gradient, so that every token is learned from. The paper sets no lower
    bound, which is ε_low = 1, and leaves the upper one open; 5 is the usual choice.

    In TRL: `loss_type="cispo"` of `GRPOTrainer`, whose `epsilon_high` is the bound
    itself, 1 + ε_high, and which has no lower bound.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      clip: ε_low, in [0, 1].
      clip_high: ε_high > 0, also inf; None for the same.
      beta: Weight of k3, ≥ 0; other than 0 it needs `ref_logps`.
      ref_logps: Of the same tokens under the reference, `[..., T]`, float.
      weights: Factor of each token's policy loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over tokens, and the metrics `policy_loss`, `kl` (with `ref_logps`),
      `advantage/abs_mean`, `cispo_clip_ratio` (tokens whose weight is the bound),
      `policy/approxkl_avg`, `policy/ratio_capped`, `val/ratio` and `val/ratio_var`.

    Raises:
      ValueError: If a Python number is out of its range, or `ref_logps` is missing.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> print(cispo_loss(logps, logps, jnp.full((1, 2), 2.0), mask).loss.value)
    3.0
    """
    check_clip(clip, clip_high)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    losses = cispo_surrogate(
        tokens.log_ratio,
        tokens.advantages,
        tokens.logps,
        clip=clip,
        clip_high=clip_high,
    )
    low, high = ratio_bounds(clip, clip_high)
    outside = (tokens.ratio < low) | (tokens.ratio > high)
    metrics = {"cispo_clip_ratio": share(outside, tokens)}
    return policy_output(
        losses,
        tokens,
        token_mean,
        kl=reference_kl(tokens, ref_logps),
        beta=beta,
        metrics=ratio_metrics(tokens) | metrics,
    )


def sapo_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    temperature: float = 1.0,
    negative_temperature: float = 1.05,
    beta: float = 0.0,
    ref_logps: jax.Array | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """Soft adaptive policy optimization: a sigmoid in the place of the clip.

        −(4/τ) σ(τ (ρ − 1)) A,  τ = τ_pos if A > 0, else τ_neg

    Eq. 5 and 6 of https://arxiv.org/abs/2511.20347, with τ = 1.0 and 1.05. The gate has
    slope 1 at ρ = 1 and falls off smoothly on both sides, faster for tokens with A < 0.

    In TRL: `loss_type="sapo"` of `GRPOTrainer`.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      temperature: Temperature τ_pos of tokens with A > 0, > 0.
      negative_temperature: Temperature τ_neg of the others, > 0.
      beta: Weight of k3, ≥ 0; other than 0 it needs `ref_logps`.
      ref_logps: Of the same tokens under the reference, `[..., T]`, float.
      weights: Factor of each token's policy loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over responses of their means over tokens, and the metrics of
      `cispo_loss` but for its clip ratio.

    Raises:
      ValueError: If a Python number is out of its range, or `ref_logps` is missing.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> print(sapo_loss(logps, logps, jnp.full((1, 2), 2.0), mask).loss.value)  # 4 σ(0)
    -4.0
    """
    check_positive("temperature", temperature)
    check_positive("negative_temperature", negative_temperature)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    losses = sapo_surrogate(
        tokens.log_ratio,
        tokens.advantages,
        temperature=temperature,
        negative_temperature=negative_temperature,
    )
    kl = reference_kl(tokens, ref_logps)
    return policy_output(losses, tokens, sequence_mean, kl=kl, beta=beta)
