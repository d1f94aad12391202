"""Proximal policy optimization: the clipped losses of policy and critic."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, is_zero
from jaxalign.losses.sampled import (
    SampledTokens,
    clip_metrics,
    policy_output,
    sampled_tokens,
    share,
    without_gradient,
)
from jaxalign.losses.surrogate import (
    check_clip,
    clipped_surrogate,
    dual_clipped_surrogate,
)
from jaxalign.ops import Mean, check_arrays, masked, token_mean
from jaxalign.ops.checks import check_not_negative, check_positive, check_range


def ppo_policy_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """PPO's clipped surrogate.

        max(−A ρ, −A clip(ρ, 1 − ε, 1 + ε)),  ρ = π/π_old

    Eq. 7 of Schulman et al., https://arxiv.org/abs/1707.06347, the mean over tokens. No
    gradient flows into `old_logps`, `advantages` and `weights`. A ratio beyond e^±20
    stays there and has no gradient.

    In TRL: part of `PPOTrainer` of earlier releases.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      clip: ε below 1, in [0, 1].
      clip_high: ε above 1, > 0, also inf; None for the same.
      weights: Factor of each token's loss, `[..., T]`, bool or float; the denominator
        stays the number of tokens.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over tokens, and the metrics `policy/approxkl_avg`,
      `policy/clipfrac_avg`, `policy/ratio_capped`, `val/ratio`, `val/ratio_var`,
      `clip_ratio/low_mean` and `clip_ratio/high_mean`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> logps, mask = jnp.array([[-1.0, -2.0]]), jnp.array([[True, True]])
    >>> advantages = jnp.array([[1.0, 3.0]])
    >>> print(ppo_policy_loss(logps, logps, advantages, mask).loss.value)  # −mean A
    -2.0
    """
    check_clip(clip, clip_high)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    losses = clipped_surrogate(
        tokens.log_ratio, tokens.advantages, clip=clip, clip_high=clip_high
    )
    metrics = _policy_metrics(tokens, clip, clip_high)
    return policy_output(losses, tokens, token_mean, metrics=metrics)


def dual_clip_policy_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    mask: jax.Array,
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
    dual_clip: float | None = 3.0,
    weights: jax.Array | None = None,
    penalty: jax.Array | None = None,
) -> LossOutput:
    """PPO's loss with a bound for bad tokens that have become likely.

        min(PPO's loss, −c A) where A < 0, else PPO's loss

    Eq. 5 of Ye et al., https://arxiv.org/abs/1912.09729. Of tokens with A < 0, PPO
    itself does not bound the ratio from above.

    In TRL: `delta` of `GRPOTrainer`, which is c.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      clip: ε below 1, in [0, 1].
      clip_high: ε above 1, > 0, also inf; None for the same.
      dual_clip: c > 1, the highest ratio of a token with A < 0; None for no bound.
      weights: Factor of each token's loss, `[..., T]`, bool or float.
      penalty: Further cost of each token, `[..., T]`, float; with its gradient.

    Returns:
      The mean over tokens, and the metrics of `ppo_policy_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> logps, mask = jnp.log(jnp.array([[0.8]])), jnp.array([[True]])
    >>> old_logps, advantages = logps - jnp.log(8.0), jnp.array([[-1.0]])
    >>> print(dual_clip_policy_loss(logps, old_logps, advantages, mask).loss.value)
    3.0
    """
    check_clip(clip, clip_high)
    check_range("dual_clip", dual_clip, 1, float("inf"), open_low=True)
    tokens = sampled_tokens(logps, old_logps, advantages, mask, weights, penalty)
    losses = dual_clipped_surrogate(
        tokens.log_ratio,
        tokens.advantages,
        clip=clip,
        clip_high=clip_high,
        dual_clip=dual_clip,
    )
    metrics = _policy_metrics(tokens, clip, clip_high, dual_clip)
    return policy_output(losses, tokens, token_mean, metrics=metrics)


def clipped_value_error(
    values: jax.Array,
    old_values: jax.Array,
    returns: jax.Array,
    *,
    clip: float | None = 0.2,
) -> jax.Array:
    """½ max((v − R)², (clip(v, v_old ± ε) − R)²), elementwise. Mask before.

    Args:
      values: v, any shape, float.
      old_values: v_old, those of the rollout, the same shape, float.
      returns: R, the same shape, float.
      clip: ε > 0, in units of the value; None for ½ (v − R)².

    Returns:
      The same shape.

    >>> one = jnp.ones(1)
    >>> print(clipped_value_error(3 * one, one, one))  # v itself is further off
    [2.]
    """
    if clip is None:
        return 0.5 * jnp.square(values - returns)
    near = jnp.clip(values, old_values - clip, old_values + clip)
    return 0.5 * jnp.maximum(jnp.square(values - returns), jnp.square(near - returns))


def ppo_value_loss(
    values: jax.Array,
    old_values: jax.Array,
    returns: jax.Array,
    mask: jax.Array,
    *,
    clip: float | None = 0.2,
) -> LossOutput:
    """The critic's squared error, which moving away from its old values cannot lower.

        ½ max((v − R)², (clip(v, v_old ± ε) − R)²)

    The clipped value loss of the code to https://arxiv.org/abs/1707.06347, the mean
    over tokens. No gradient flows into `old_values` and `returns`.

    In TRL: part of `PPOTrainer` of earlier releases.

    Args:
      values: Of the state before each token, `[..., T]`, float.
      old_values: The same at the time of the rollout, `[..., T]`, float.
      returns: What to fit, advantages that are not whitened plus old values,
        `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      clip: ε > 0, in units of the value; None for the plain squared error.

    Returns:
      The mean over tokens, and the metric `val/clipfrac_avg`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> values, returns = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 4.0]])
    >>> mask = jnp.array([[True, True]])
    >>> print(ppo_value_loss(values, values, returns, mask).loss.value)
    1.0
    """
    check_positive("clip", clip, infinite=True)
    arrays = _values(values, old_values, returns, mask)
    losses = clipped_value_error(*arrays, clip=clip)
    clipped = losses > 0.5 * jnp.square(arrays[0] - arrays[2])
    metrics = {"val/clipfrac_avg": Mean.of(clipped, where=mask)}
    return without_gradient(token_mean(losses, mask), metrics)


def ppo_loss(
    logps: jax.Array,
    old_logps: jax.Array,
    advantages: jax.Array,
    values: jax.Array,
    old_values: jax.Array,
    returns: jax.Array,
    mask: jax.Array,
    *,
    entropy: jax.Array | None = None,
    clip: float = 0.2,
    clip_high: float | None = None,
    dual_clip: float | None = None,
    value_clip: float | None = 0.2,
    value_coef: float = 0.1,
    entropy_coef: float = 0.0,
    weights: jax.Array | None = None,
) -> LossOutput:
    """PPO's whole loss: policy, critic and entropy, added up token by token.

        max(−A ρ, −A clip(ρ, 1 ± ε)) + c_v ½ max((v − R)², (clip(v) − R)²) − c_e H

    Eq. 9 of Schulman et al., https://arxiv.org/abs/1707.06347, the mean over tokens:
    one denominator for all terms. The KL penalty is part of the rewards, see
    `rewards.token_rewards`.

    In TRL: `PPOTrainer` of earlier releases, which means policy and value apart.

    Args:
      logps: Of the sampled tokens under the policy, `[..., T]`, float.
      old_logps: Of the same tokens when they were sampled, `[..., T]`, float.
      advantages: Of each token, `[..., T]`, float.
      values: Of the state before each token, `[..., T]`, float.
      old_values: The same at the time of the rollout, `[..., T]`, float.
      returns: What to fit the values to, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      entropy: Of the policy at each token in nats, `[..., T]`, float; for the metric,
        and needed if `entropy_coef` is not 0.
      clip: ε below 1, in [0, 1].
      clip_high: ε above 1, > 0, also inf; None for the same.
      dual_clip: c of `dual_clip_policy_loss`, > 1; None for PPO's own loss.
      value_clip: ε of the values, > 0; None for the plain squared error.
      value_coef: Weight c_v of the value loss, ≥ 0.
      entropy_coef: Weight c_e of the entropy, ≥ 0.
      weights: Factor of each token's policy loss, `[..., T]`, bool or float.

    Returns:
      The mean over tokens, the metrics of `ppo_policy_loss` and `ppo_value_loss`,
      `loss/policy_avg`, `loss/value_avg` and, with `entropy`, `policy/entropy_avg`.

    Raises:
      ValueError: If a Python number is out of its range, or `entropy` is missing.

    >>> one, mask = jnp.ones((1, 2)), jnp.array([[True, True]])
    >>> print(ppo_loss(-one, -one, one, one, one, 3 * one, mask).loss.value)
    -0.8
    """
    check_not_negative("value_coef", value_coef)
    check_not_negative("entropy_coef", entropy_coef)
    policy = dual_clip_policy_loss(
        logps,
        old_logps,
        advantages,
        mask,
        clip=clip,
        clip_high=clip_high,
        dual_clip=dual_clip,
        weights=weights,
    )
    value = ppo_value_loss(values, old_values, returns, mask, clip=value_clip)
    # All three are sums over the same tokens, so that one weight divides them.
    total = policy.loss.total + value_coef * value.loss.total
    metrics = policy.metrics | value.metrics
    metrics["loss/policy_avg"] = metrics.pop("policy_loss")
    metrics["loss/value_avg"] = value.loss
    if entropy is not None:
        check_arrays(entropy=(entropy, "float[+, T]"), mask=(mask, "bool[+, T]"))
        metrics["policy/entropy_avg"] = token_mean(entropy, mask)
        total -= entropy_coef * metrics["policy/entropy_avg"].total
    elif not is_zero(entropy_coef):
        raise ValueError(f"entropy_coef={entropy_coef} needs entropy")
    return without_gradient(Mean(total, policy.loss.weight), metrics)


def _policy_metrics(tokens: SampledTokens, clip, clip_high, dual_clip=None):
    metrics = clip_metrics(tokens, clip, clip_high)
    stopped = metrics.pop("clip_ratio/region_mean")
    if dual_clip is not None:
        # None of these is in it: with A < 0 the other bound is below 1, and c above.
        more = share((tokens.advantages < 0) & (tokens.ratio > dual_clip), tokens)
        stopped = Mean(stopped.total + more.total, stopped.weight)
    return metrics | {"policy/clipfrac_avg": stopped}


def _values(values, old_values, returns, mask):
    check_arrays(
        values=(values, "float[+, T]"),
        old_values=(old_values, "float[+, T]"),
        returns=(returns, "float[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    old_values, returns = jax.lax.stop_gradient((old_values, returns))
    return masked(values, mask), masked(old_values, mask), masked(returns, mask)
