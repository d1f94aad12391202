"""Losses whose ratio is that of a whole response: a mean over its tokens, in logs."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput
from jaxalign.losses.sampled import (
    clip_metrics,
    policy_output,
    ratio_metrics,
    reference_kl,
    sampled_tokens,
    sequence_level,
    sequence_token_level,
    stopped_tokens,
)
from jaxalign.losses.surrogate import (
    check_clip,
    clipped_surrogate,
    unclipped_surrogate,
)
from jaxalign.ops import sequence_mean
from jaxalign.ops.checks import check_positive


def gspo_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 3e-4,
    clip_high: float | None = 4e-4,
    beta: float = 0.0,
    ref_logps: jax.Array | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """Group sequence policy optimization: one ratio and one clip for each response.

        max(−A s, −A clip(s, 1 − ε_low, 1 + ε_high)),  s = exp((1/|y|) Σ_t log ρ_t)

    Eq. 5 to 7 of Zheng et al., https://arxiv.org/abs/2507.18071. The advantage and the
    weight of a response are the means over its tokens. With one update a batch s = 1
    and nothing is clipped.

    In TRL: `importance_sampling_level="sequence"` of `GRPOTrainer`.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, usually the same for all of a response, `[..., T]`.
      mask: The tokens of the response, `[..., T]`, bool.
      clip: ε_low, in [0, 1].
      clip_high: ε_high > 0, also inf; None for the same.
      beta: Weight of k3, ≥ 0; other than 0 it needs `ref_logps`.
      ref_logps: Of the same tokens under the reference, `[..., T]`, float.
      weights: Factor of each response's loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over responses, and the metrics of `grpo_loss`; those of ratios and clips
      are over responses.

    Raises:
      ValueError: If a Python number is out of its range, or `ref_logps` is missing.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> print(gspo_loss(logps, logps, jnp.full((1, 2), 2.0), mask).loss.value)
    -2.0
    """
    check_clip(clip, clip_high)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    whole = sequence_level(tokens)
    losses = clipped_surrogate(
        whole.log_ratio, whole.advantages, clip=clip, clip_high=clip_high
    )
    return policy_output(
        losses,
        tokens,
        sequence_mean,
        kl=reference_kl(tokens, ref_logps),
        beta=beta,
        metrics=clip_metrics(whole, clip, clip_high, sequence_mean),
    )


def gspo_token_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 3e-4,
    clip_high: float | None = 4e-4,
    beta: float = 0.0,
    ref_logps: jax.Array | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """GSPO with an advantage for each token; equal to it where they are all the same.

        s_t = sg(s) π_t / sg(π_t),  (1/|y|) Σ_t max(−A_t s_t, −A_t clip(s_t, …))

    Eq. 13 and 14 of Zheng et al., https://arxiv.org/abs/2507.18071: the ratio has the
    value of the response's and the gradient of its own token.

    In TRL: `experimental.gspo_token` of earlier releases.

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
      The mean over responses, and the metrics of `grpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range, or `ref_logps` is missing.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> advantages = jnp.array([[1.0, 3.0]])
    >>> print(gspo_token_loss(logps, logps, advantages, mask).loss.value)
    -2.0
    """
    check_clip(clip, clip_high)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    tokens = sequence_token_level(tokens)
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


def gmpo_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    log_clip: float = 0.4,
    log_clip_high: float | None = None,
    beta: float = 0.0,
    ref_logps: jax.Array | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """Geometric-mean policy optimization: the geometric mean of clipped ratios.

        −A exp((1/|y|) Σ_t c_t),  c_t = min(log ρ_t, δ') if A > 0, else max(log ρ_t, −δ)

    Zhao et al., https://arxiv.org/abs/2507.20673, with bounds e^±0.4: as in PPO, each
    token is clipped on the side that the sign of A says. The advantage and the weight
    of a response are the means over its tokens.

    In TRL: `experimental.gmpo.GMPOTrainer`, with δ as `epsilon`, δ' as `epsilon_high`.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, usually the same for all of a response, `[..., T]`.
      mask: The tokens of the response, `[..., T]`, bool.
      log_clip: δ > 0, the bound of a falling log-ratio, also inf.
      log_clip_high: δ' > 0, that of a rising one, also inf; None for the same.
      beta: Weight of k3, ≥ 0; other than 0 it needs `ref_logps`.
      ref_logps: Of the same tokens under the reference, `[..., T]`, float.
      weights: Factor of each response's loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over responses, and the metrics of `grpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range, or `ref_logps` is missing.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> print(gmpo_loss(logps, logps, jnp.full((1, 2), 2.0), mask).loss.value)
    -2.0
    """
    check_positive("log_clip", log_clip, infinite=True)
    check_positive("log_clip_high", log_clip_high, infinite=True)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    up = sequence_level(tokens).advantages > 0
    high = log_clip if log_clip_high is None else log_clip_high
    clipped = jnp.where(
        up,
        jnp.minimum(tokens.log_ratio, high),
        jnp.maximum(tokens.log_ratio, -log_clip),
    )
    whole = sequence_level(tokens._replace(log_ratio=clipped))
    losses = unclipped_surrogate(whole.log_ratio, whole.advantages)
    above = up & (tokens.log_ratio > high)
    below = ~up & (tokens.log_ratio < -log_clip)
    return policy_output(
        losses,
        tokens,
        sequence_mean,
        kl=reference_kl(tokens, ref_logps),
        beta=beta,
        metrics=ratio_metrics(tokens) | stopped_tokens(below, above, tokens),
    )
