"""Clipped surrogates over groups of responses; they differ in what they divide by."""

import functools

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput
from jaxalign.losses.sampled import (
    clip_metrics,
    policy_output,
    reference_kl,
    sampled_tokens,
)
from jaxalign.losses.surrogate import check_clip, clipped_surrogate
from jaxalign.ops import fixed_length, sequence_mean, token_mean
from jaxalign.ops.checks import check_positive


def grpo_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
    beta: float | None = None,
    ref_logps: jax.Array | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """Group relative policy optimization.

        mean over responses of (1/|y|) Σ_t [max(−A ρ, −A clip(ρ, 1 ± ε)) + β k3_t]

    Eq. 3 and 4 of DeepSeekMath, https://arxiv.org/abs/2402.03300, with
    `ops.group_advantages`. Since each response is divided by its own length, tokens of
    long ones weigh less; `dr_grpo_loss` and `dapo_loss` are the cures. Summed over
    tokens, k3 does not have the gradient of a divergence of responses; KL in the
    rewards does.

    In TRL: `loss_type="grpo"` of `GRPOTrainer`, where β is 0 by default and k3 is
    multiplied by ρ.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      clip: ε below 1, in [0, 1].
      clip_high: ε above 1, > 0, also inf; None for the same.
      beta: β ≥ 0; other than 0 it needs `ref_logps`. None: 0.04 with a reference, as
        in the paper, and 0 without one.
      ref_logps: Of the same tokens under the reference, `[..., T]`, float.
      weights: Factor of each token's policy loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over responses, and the metrics `policy_loss`, `kl` (with `ref_logps`),
      `advantage/abs_mean`, `clip_ratio/low_mean`, `clip_ratio/high_mean`,
      `clip_ratio/region_mean`, `policy/approxkl_avg`, `policy/ratio_capped`,
      `val/ratio` and `val/ratio_var`.

    Raises:
      ValueError: If a Python number is out of its range, or `ref_logps` is missing.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> advantages = jnp.array([[1.0, 3.0]])
    >>> print(grpo_loss(logps, logps, advantages, mask, ref_logps=logps).loss.value)
    -2.0
    """
    if beta is None:
        beta = 0.0 if ref_logps is None else 0.04
    check_clip(clip, clip_high)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    losses = clipped_surrogate(
        tokens.log_ratio, tokens.advantages, clip=clip, clip_high=clip_high
    )
    return policy_output(
        losses,
        tokens,
        sequence_mean,
        kl=reference_kl(tokens, ref_logps),
        beta=beta,
        metrics=clip_metrics(tokens, clip, clip_high),
    )


def dr_grpo_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    max_length: float,
    clip: float = 0.2,
    clip_high: float | None = None,
    beta: float = 0.0,
    ref_logps: jax.Array | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """GRPO done right: one divisor for all responses, so that length has no influence.

        mean over responses of (1/L) Σ_t max(−A ρ, −A clip(ρ, 1 ± ε))

    Liu et al., https://arxiv.org/abs/2503.20783, with `ops.centered_group_advantages`.

    In TRL: `loss_type="dr_grpo"` of `GRPOTrainer` with `scale_rewards="none"`.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      max_length: L > 0, the longest response that can be generated.
      clip: ε below 1, in [0, 1].
      clip_high: ε above 1, > 0, also inf; None for the same.
      beta: Weight of k3, ≥ 0; other than 0 it needs `ref_logps`.
      ref_logps: Of the same tokens under the reference, `[..., T]`, float.
      weights: Factor of each token's policy loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over responses, and the metrics of `grpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range, or `ref_logps` is missing.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> advantages = jnp.array([[1.0, 3.0]])
    >>> print(dr_grpo_loss(logps, logps, advantages, mask, max_length=8).loss.value)
    -0.5
    """
    check_positive("max_length", max_length)
    check_clip(clip, clip_high)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    losses = clipped_surrogate(
        tokens.log_ratio, tokens.advantages, clip=clip, clip_high=clip_high
    )
    return policy_output(
        losses,
        tokens,
        functools.partial(fixed_length, max_length=max_length),
        kl=reference_kl(tokens, ref_logps),
        beta=beta,
        metrics=clip_metrics(tokens, clip, clip_high),
    )


def dapo_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 0.2,
    clip_high: float | None = 0.28,
    beta: float = 0.0,
    ref_logps: jax.Array | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """DAPO: a mean over all tokens, and more room above than below.

        mean over tokens of max(−A ρ, −A clip(ρ, 1 − ε_low, 1 + ε_high))

    Eq. 8 of Yu et al., https://arxiv.org/abs/2503.14476, with `ops.group_advantages`.
    The method goes with `rewards.informative_groups` and `rewards.overlong_penalty`.

    In TRL: `loss_type="dapo"`, the default of `GRPOTrainer`, with 0.2 above as well
    unless `epsilon_high` is given; `bnpo` divides by the tokens of a part of the batch.

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
      The mean over tokens, and the metrics of `grpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range, or `ref_logps` is missing.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> print(dapo_loss(logps, logps, jnp.array([[1.0, 3.0]]), mask).loss.value)
    -2.0
    """
    check_clip(clip, clip_high)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    losses = clipped_surrogate(
        tokens.log_ratio, tokens.advantages, clip=clip, clip_high=clip_high
    )
    return policy_output(
        losses,
        tokens,
        token_mean,
        kl=reference_kl(tokens, ref_logps),
        beta=beta,
        metrics=clip_metrics(tokens, clip, clip_high),
    )
