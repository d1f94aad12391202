"""DPO that is not to favour responses for being long."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import check_pairs, sum_pairs
from jaxalign.ops.checks import check_not_negative, check_positive, check_range


def ln_dpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 5.0,
) -> LossOutput:
    """Length-normalised DPO, as in Tülu 3: log-ratios per token.

        −log σ(β [h(y_w)/|y_w| − h(y_l)/|y_l|])

    Lambert et al., https://arxiv.org/abs/2411.15124, with β = 5, a learning
    rate of 5e-7 (8B) or 2e-7 (70B) and batches of 128.

    In TRL: `sigmoid_norm`, with β = 0.1 by default.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`; a reward is β h(y)/|y|.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(ln_dpo_loss(lp, lp, mask).loss.value)  # policy == ref: log 2
    0.6931472
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    rewards = pairs.each(lambda y: beta * y.mean_log_ratios)
    losses = pairwise_logistic(rewards.chosen - rewards.rejected)
    return pair_output(losses, pairs, rewards)


def length_regularised_dpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    alpha: float = 0.01,
) -> LossOutput:
    """R-DPO: DPO whose implicit reward carries a penalty on length.

        −log σ(β D + α (|y_w| − |y_l|))

    Park et al., https://arxiv.org/abs/2403.19159: the optimum of
    E[r − α |y|] − β KL, so a longer chosen response needs less of a margin.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      alpha: Price of a token in the reward, ≥ 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(length_regularised_dpo_loss(lp, lp, mask).loss.value)  # equal lengths
    0.6931472
    """
    check_positive("beta", beta)
    check_not_negative("alpha", alpha)
    pairs = sum_pairs(policy, mask, ref)
    longer = pairs.chosen.lengths - pairs.rejected.lengths
    losses = pairwise_logistic(beta * pairs.margins + alpha * longer)
    return pair_output(losses, pairs, pairs.rewards(beta))


def ld_dpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    alpha: float = 0.5,
) -> LossOutput:
    """LD-DPO: tokens beyond the length of the shorter response count less.

        −log σ(β D'),  h'(y) = Σ_{t ≤ n} h_t + α Σ_{t > n} h_t,  n = min(|y_w|, |y_l|)

    Liu et al., https://arxiv.org/abs/2409.06411: policy and reference alike.

    In TRL: `ld_alpha`, off by default.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      alpha: Weight of tokens beyond the shorter length, in [0, 1]; 1 is DPO.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`; a reward is β h'(y).

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(ld_dpo_loss(lp, lp, mask).loss.value)  # policy == ref: log 2
    0.6931472
    """
    check_positive("beta", beta)
    check_range("alpha", alpha, 0, 1, closed_high=True)
    check_pairs(policy=policy, ref=ref, mask=mask)
    weights = shared_length_weights(mask, alpha=alpha)
    pairs = sum_pairs(policy, mask, ref, token_weights=weights)
    losses = pairwise_logistic(beta * pairs.margins)
    return pair_output(losses, pairs, pairs.rewards(beta))


def shared_length_weights(
    mask: Pair[jax.Array], *, alpha: float | jax.Array = 0.5
) -> Pair[jax.Array]:
    """1 for the tokens that both responses are long enough to have, α for the others.

    Args:
      mask: True on response tokens, each `[..., T]`, bool.
      alpha: α in [0, 1], Python or traced.

    Returns:
      The `token_weights` of `sum_pairs`, each `[..., T]`.

    >>> mask = Pair(jnp.ones((1, 3), bool), jnp.ones((1, 1), bool))
    >>> print(shared_length_weights(mask, alpha=0.25).chosen)
    [[1.   0.25 0.25]]
    """
    check_pairs(mask=mask)
    number = Pair(*(jnp.cumsum(m, axis=-1, dtype=jnp.int32) for m in mask))
    shorter = jnp.minimum(number.chosen[..., -1:], number.rejected[..., -1:])
    return Pair(*(jnp.where(n <= shorter, 1.0, alpha) for n in number))
