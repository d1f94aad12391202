"""Anchored Preference Optimization: where both responses go, not only their gap."""

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_sigmoid
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import sum_pairs
from jaxalign.ops.checks import check_positive


def apo_zero_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
) -> LossOutput:
    """APO-zero: chosen responses up, rejected ones down.

        1 − σ(β h(y_w)) + σ(β h(y_l))

    D'Oosterlinck et al., https://arxiv.org/abs/2408.06266, Eq. 7: for chosen responses
    better than what the model writes.

    In TRL: `apo_zero`.

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
    >>> print(apo_zero_loss(lp, lp, mask).loss.value)  # policy == ref
    1.0
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    chosen, rejected = rewards = pairs.rewards(beta)
    losses = pairwise_sigmoid(chosen) + pairwise_sigmoid(-rejected)
    return pair_output(losses, pairs, rewards)


def apo_down_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
) -> LossOutput:
    """APO-down: both responses down, the rejected one further.

        σ(β h(y_w)) + 1 − σ(β D)

    D'Oosterlinck et al., https://arxiv.org/abs/2408.06266, Eq. 8: for a model that
    writes better than the chosen responses.

    In TRL: `apo_down`.

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
    >>> print(apo_down_loss(lp, lp, mask).loss.value)  # policy == ref
    1.0
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    rewards = pairs.rewards(beta)
    margins = rewards.chosen - rewards.rejected
    losses = jax.nn.sigmoid(rewards.chosen) + pairwise_sigmoid(margins)
    return pair_output(losses, pairs, rewards)
