"""Losses for responses that were sampled just now: Nash-MD and XPO."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import check_labels, constant, sum_pairs, sum_responses
from jaxalign.ops import Mean
from jaxalign.ops.checks import check_not_negative, check_positive


def nash_md_loss(
    policy: jax.Array,
    ref: jax.Array,
    mask: jax.Array,
    preference: jax.Array,
    *,
    beta: float = 0.1,
) -> LossOutput:
    """Nash-MD: a policy gradient on the probability to win against a mixture.

        −[P(y ≻ y') − ½] lp(y) + β sg(h(y)) lp(y)

    Munos et al., https://arxiv.org/abs/2312.00886. y is sampled from the policy, y'
    from the geometric mixture of policy and reference. A surrogate: its gradient is
    exact for one update on fresh samples, its value means nothing. The second term is
    the gradient of the sequence's KL; a sum of such terms by token would not be.

    In TRL: `NashMDTrainer` of earlier releases, whose KL term is one of tokens.

    Args:
      policy: Token log-probabilities under the policy, `[..., T]`, float.
      ref: The same tokens under the frozen reference, `[..., T]`, float.
      mask: True on response tokens, `[..., T]`, bool.
      preference: P(y ≻ y') in [0, 1], `[...]`, float; no gradient.
      beta: Weight of the KL to the reference, ≥ 0.

    Returns:
      The mean over responses, and the metrics `reward`, which is P, and `kl`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp, mask = jnp.array([[-2.0]]), jnp.array([[True]])
    >>> print(nash_md_loss(lp, lp, mask, jnp.array([1.0])).loss.value)
    1.0
    """
    check_not_negative("beta", beta)
    responses = sum_responses(policy, mask, ref)
    won = constant("preference", preference, responses)
    gain = won - 0.5 - beta * jax.lax.stop_gradient(responses.log_ratios)
    metrics = {
        "reward": Mean.of(won, where=responses.valid),
        "kl": Mean.of(responses.log_ratios, where=responses.valid),
    }
    loss = Mean.of(-gain * responses.logps, where=responses.valid)
    return LossOutput(loss, metrics)


def xpo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    ref_is_chosen: jax.Array,
    *,
    beta: float = 0.1,
    alpha: float = 1e-5,
) -> LossOutput:
    """Exploratory preference optimisation: online DPO with a bonus for the unlikely.

        −log σ(β D) + α lp(ỹ)

    Xie et al., https://arxiv.org/abs/2405.21046, Algorithm 1. One response of the pair
    was sampled from the policy, the other, ỹ, from the reference; a judge chose.

    In TRL: `XPOTrainer` of earlier releases.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      ref_is_chosen: Whether the chosen response is the reference's, `[...]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      alpha: Weight of the bonus, ≥ 0; 0 is online DPO.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(xpo_loss(lp, lp, mask, jnp.array([True]), alpha=1.0).loss.value)
    -0.30685282
    """
    check_positive("beta", beta)
    check_not_negative("alpha", alpha)
    pairs = sum_pairs(policy, mask, ref)
    check_labels("ref_is_chosen", ref_is_chosen, pairs.chosen)
    explored = jnp.where(ref_is_chosen, pairs.chosen.logps, pairs.rejected.logps)
    losses = pairwise_logistic(beta * pairs.margins) + alpha * explored
    return pair_output(losses, pairs, pairs.rewards(beta))
