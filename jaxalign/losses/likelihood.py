"""Baselines of preference learning that only raise and lower likelihoods."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.pairs import pair_metrics, pair_output
from jaxalign.losses.responses import sum_pairs
from jaxalign.ops import Mean, check_arrays, log1mexp, masked
from jaxalign.ops.checks import check_not_negative


def preferred_ft_loss(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
) -> LossOutput:
    """Supervised fine-tuning on the chosen responses alone.

        −log π(y_w,t), a mean over tokens

    The baseline Preferred-FT of https://arxiv.org/abs/2305.18290, Sec. 6: `sft_loss` on
    the chosen side. A chosen response counts even if its rival is empty.

    In TRL: `sft`.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.

    Returns:
      The mean over chosen tokens, and the metrics of `dpo_loss` with lp(y) as reward.

    >>> lp = Pair(jnp.array([[-1.0, -3.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True, True]]), jnp.array([[True]]))
    >>> print(preferred_ft_loss(lp, mask).loss.value)
    2.0
    """
    pairs = sum_pairs(policy, mask)
    chosen, where = policy[0], mask[0]
    loss = Mean.of(-masked(chosen, where), where=where)
    return LossOutput(loss, pair_metrics(pairs, pairs.rewards(1.0)))


def unlikelihood_loss(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    alpha: float = 1.0,
) -> LossOutput:
    """Chosen responses more likely, rejected ones less: a baseline that diverges.

        −lp(y_w) + α lp(y_l)

    The baseline Unlikelihood of https://arxiv.org/abs/2305.18290, Sec. 6, which swept α
    over 0.05, 0.1, 0.5 and 1. It is unbounded below by design.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      alpha: Weight of the rejected response, ≥ 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss` with lp(y) for a reward.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-3.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(unlikelihood_loss(lp, mask, alpha=0.5).loss.value)
    -0.5
    """
    check_not_negative("alpha", alpha)
    pairs = sum_pairs(policy, mask)
    losses = -pairs.chosen.logps + alpha * pairs.rejected.logps
    return pair_output(losses, pairs, pairs.rewards(1.0))


def token_unlikelihood_loss(logps: jax.Array, mask: jax.Array) -> LossOutput:
    """Makes given tokens less likely, without a term that is unbounded.

        −log(1 − π(c_t)), a mean over tokens

    Welleck et al., https://arxiv.org/abs/1908.04319, for one negative candidate c_t at
    each position.

    Args:
      logps: Log-probability of each negative token, `[..., T]`, float.
      mask: True where there is one, `[..., T]`, bool.

    Returns:
      The mean over negative tokens, and the metric `logps/rejected`, theirs.

    >>> logps = jnp.log(jnp.array([[0.5, 0.5]]))
    >>> print(token_unlikelihood_loss(logps, jnp.array([[True, False]])).loss.value)
    0.6931472
    """
    check_arrays(logps=(logps, "float[+, T]"), mask=(mask, "bool[+, T]"))
    # Where nothing counts a certain event would give an infinite slope.
    logps = jnp.where(mask, masked(logps, mask), -1.0)
    metrics = {"logps/rejected": Mean.of(logps, where=mask)}
    return LossOutput(Mean.of(-log1mexp(logps), where=mask), metrics)
