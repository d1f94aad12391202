"""Losses that read given rewards beside the responses."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import constant, constants, sum_pairs, sum_responses
from jaxalign.ops import Mean, check_arrays, masked
from jaxalign.ops.checks import check_positive


def mappo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    reward_gap: jax.Array,
    *,
    beta: float = 0.1,
) -> LossOutput:
    """MaPPO: the rejected response counts as far as a prior says that it is worse.

        −log σ(β h(y_w) − Δr β h(y_l))

    Maximum a posteriori preference optimisation, Lan et al.,
    https://arxiv.org/abs/2507.21183. A gap of 1 is DPO.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      reward_gap: Δr in [0, 1], prior reward of chosen minus rejected, `[...]`, float.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(mappo_loss(lp, lp, mask, jnp.array([0.5])).loss.value)  # log 2
    0.6931472
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    gap = constant("reward_gap", reward_gap, pairs.chosen)
    # Of a pair that does not count it may be NaN, and so would its gradient.
    gap = masked(gap, pairs.valid)
    rewards = pairs.rewards(beta)
    losses = pairwise_logistic(rewards.chosen - gap * rewards.rejected)
    return pair_output(losses, pairs, rewards)


def rebel_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    rewards: Pair[jax.Array],
    *,
    eta: float = 1.0,
) -> LossOutput:
    """REBEL: the difference of log-ratios regressed on the difference of rewards.

        ([h(y_w) − h(y_l)]/η − [r(y_w) − r(y_l)])²

    Gao et al., https://arxiv.org/abs/2404.16767, Algorithm 1. The reference is the
    policy at the start of the round, which wrote the responses; which of the two is
    called chosen does not matter.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      rewards: r of each response, each `[...]`, float; no gradient.
      eta: Step size of the implied mirror descent, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`; a reward is h(y)/η.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> rewards = Pair(jnp.array([3.0]), jnp.array([1.0]))
    >>> print(rebel_loss(lp, lp, mask, rewards).loss.value)  # policy == ref: (r − r')²
    4.0
    """
    check_positive("eta", eta)
    pairs = sum_pairs(policy, mask, ref)
    given = constants("rewards", rewards, pairs)
    gaps = given.chosen - given.rejected
    losses = jnp.square(pairs.margins / eta - gaps)
    return pair_output(losses, pairs, pairs.rewards(1 / eta))


def a_star_po_loss(
    policy: jax.Array,
    ref: jax.Array,
    mask: jax.Array,
    rewards: jax.Array,
    values: jax.Array,
    *,
    beta: float = 0.1,
) -> LossOutput:
    """A*-PO: the log-ratio of one response regressed on its optimal advantage.

        (β h(y) − [r − V*])²

    Brantley et al., https://arxiv.org/abs/2505.20686. V* is the optimal value of
    the prompt, estimated once from the reference by `soft_value`.

    In TRL: `experimental.a2po.A2POTrainer`, with β under the name of `beta2`.

    Args:
      policy: Token log-probabilities under the policy, `[..., T]`, float.
      ref: The same tokens under the frozen reference, `[..., T]`, float.
      mask: True on response tokens, `[..., T]`, bool.
      rewards: r of each response, `[...]`, float; no gradient.
      values: V* of its prompt, `[...]`, float; no gradient.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over responses, and the metrics `reward` and `kl`, the log-ratio.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp, mask = jnp.array([[-1.0]]), jnp.array([[True]])
    >>> rewards, values = jnp.array([3.0]), jnp.array([1.0])
    >>> print(a_star_po_loss(lp, lp, mask, rewards, values).loss.value)
    4.0
    """
    check_positive("beta", beta)
    responses = sum_responses(policy, mask, ref)
    rewards = constant("rewards", rewards, responses)
    values = constant("values", values, responses)
    losses = jnp.square(beta * responses.log_ratios - (rewards - values))
    metrics = {
        "reward": Mean.of(rewards, where=responses.valid),
        "kl": Mean.of(responses.log_ratios, where=responses.valid),
    }
    return LossOutput(Mean.of(losses, where=responses.valid), metrics)


def soft_value(rewards: jax.Array, mask: jax.Array, *, beta: float = 0.1) -> jax.Array:
    """The optimal value of a prompt, from rewards of the reference's responses.

        V* = β log mean_k exp(r_k/β)

    As in https://arxiv.org/abs/2505.20686.

    Args:
      rewards: Rewards of K responses, `[..., K]`, float.
      mask: Which of them are there, `[..., K]`, bool.
      beta: As in `a_star_po_loss`, > 0.

    Returns:
      `[...]`; 0 where there is none.

    >>> print(soft_value(jnp.array([2.0, 2.0, 9.0]), jnp.array([True, True, False])))
    2.0
    """
    check_positive("beta", beta)
    check_arrays(rewards=(rewards, "float[..., K]"), mask=(mask, "bool[..., K]"))
    low = jnp.finfo(rewards.dtype).min / 2
    count = jnp.sum(mask, axis=-1, dtype=rewards.dtype)
    scaled = jnp.where(mask, rewards, 0.0) / beta
    total = jax.nn.logsumexp(jnp.where(mask, scaled, low), axis=-1)
    mean = total - jnp.log(jnp.maximum(count, 1.0))
    return beta * jnp.where(count > 0, mean, 0.0)
