"""DPO with other divergences than the reverse KL between policy and reference.

Each is the logistic link on the rewards of `divergences`; with another link it is
another loss.
"""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.divergences import (
    alpha_divergence,
    forward_kl,
    is_capped,
    jensen_shannon,
    reverse_kl,
)
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import Pairs, sum_pairs
from jaxalign.ops.checks import check_positive, check_range


def f_dpo_reverse_kl_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
) -> LossOutput:
    """DPO with the reverse KL divergence, which is DPO itself.

        −log σ(β u(h(y_w)) − β u(h(y_l))),  u(h) = h

    Table 1 of Wang et al., https://arxiv.org/abs/2309.16240.

    In TRL: `f_divergence_type="reverse_kl"`.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(f_dpo_reverse_kl_loss(lp, lp, mask).loss.value)  # log 2
    0.6931472
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    return _output(pairs, pairs.each(lambda y: beta * reverse_kl(y.log_ratios)))


def f_dpo_forward_kl_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
) -> LossOutput:
    """DPO with the forward KL divergence: all of the reference is to be covered.

        −log σ(β u(h(y_w)) − β u(h(y_l))),  u(h) = 1 − e^−h

    Table 1 of Wang et al., https://arxiv.org/abs/2309.16240. The exponent is capped at
    ±20, beyond which there is no gradient.

    In TRL: `f_divergence_type="forward_kl"`, without a cap.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, the metrics of `dpo_loss` with β u(h) for a reward, and
      `log_ratio_capped`, the share of capped responses: 0 in a healthy run.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(f_dpo_forward_kl_loss(lp, lp, mask).loss.value)  # log 2
    0.6931472
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    rewards = pairs.each(lambda y: beta * forward_kl(y.log_ratios))
    return _output(pairs, rewards, log_ratio_capped=_share_capped(pairs))


def f_dpo_js_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
) -> LossOutput:
    """DPO with the Jensen-Shannon divergence, whose rewards are bounded above.

        −log σ(β u(h(y_w)) − β u(h(y_l))),  u(h) = log σ(h) + log 2

    Table 1 of Wang et al., https://arxiv.org/abs/2309.16240.

    In TRL: `f_divergence_type="js_divergence"`.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss` with β u(h) for a reward.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(f_dpo_js_loss(lp, lp, mask).loss.value)  # log 2
    0.6931472
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    return _output(pairs, pairs.each(lambda y: beta * jensen_shannon(y.log_ratios)))


def f_dpo_alpha_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    alpha: float = 0.5,
) -> LossOutput:
    """DPO with an alpha divergence, from the reverse KL (α = 0) to the forward KL (1).

        −log σ(β u(h(y_w)) − β u(h(y_l))),  u(h) = (1 − e^−αh)/α

    Table 1 of Wang et al., https://arxiv.org/abs/2309.16240. The exponent is capped at
    ±20, beyond which there is no gradient.

    In TRL: `f_divergence_type="alpha_divergence"`, whose coefficient is 1 − α.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      alpha: Order of the divergence, in [0, 1]; 0 is DPO, the limit of small ones.

    Returns:
      The mean over pairs, the metrics of `dpo_loss` with β u(h) for a reward, and
      `log_ratio_capped`, the share of capped responses: 0 in a healthy run.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(f_dpo_alpha_loss(lp, lp, mask).loss.value)  # log 2
    0.6931472
    """
    check_positive("beta", beta)
    check_range("alpha", alpha, 0, 1, closed_high=True)
    pairs = sum_pairs(policy, mask, ref)

    rewards = pairs.each(lambda y: beta * alpha_divergence(y.log_ratios, alpha))
    return _output(pairs, rewards, log_ratio_capped=_share_capped(pairs, alpha))


def _output(pairs: Pairs, rewards: Pair[jax.Array], **metrics) -> LossOutput:
    losses = pairwise_logistic(rewards.chosen - rewards.rejected)
    return pair_output(losses, pairs, rewards, **metrics)


def _share_capped(pairs: Pairs, alpha: float | jax.Array = 1.0) -> jax.Array:
    capped = pairs.each(lambda y: is_capped(y.log_ratios, alpha))
    return jnp.mean(jnp.stack(capped), axis=0)
