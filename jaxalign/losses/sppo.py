"""Self-Play Preference Optimization: log-ratios regressed on win probabilities."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import constants, sum_pairs
from jaxalign.ops.checks import check_positive


def sppo_hard_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    eta: float = 1000.0,
) -> LossOutput:
    """Self-Play Preference Optimization, taking winners to win and losers to lose.

        (h(y_w) − η/2)² + (h(y_l) + η/2)²

    Eq. 4.7 of Wu et al., https://arxiv.org/abs/2405.00675, with P = 1 and 0. The
    reference is the policy of the previous round.

    In TRL: `sppo_hard`, with β = 1/η and 0.1 as its default.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      eta: Step of the multiplicative update, > 0; 1/η pulls towards the reference.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`; a reward is h(y)/η.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(sppo_hard_loss(lp, lp, mask, eta=2.0).loss.value)  # η²/2
    2.0
    """
    check_positive("eta", eta)
    pairs = sum_pairs(policy, mask, ref)
    chosen, rejected = (x.log_ratios for x in pairs)
    losses = jnp.square(chosen - eta / 2) + jnp.square(rejected + eta / 2)
    return pair_output(losses, pairs, pairs.rewards(1 / eta))


def sppo_soft_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    win_rate: Pair[jax.Array],
    *,
    eta: float = 1000.0,
) -> LossOutput:
    """Self-Play Preference Optimization with estimated win probabilities.

        [h(y_w) − η (P(y_w) − ½)]² + [h(y_l) − η (P(y_l) − ½)]²

    Eq. 4.7 of Wu et al., https://arxiv.org/abs/2405.00675: P(y) is the probability that
    y beats a response of the previous policy, which is the reference.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      win_rate: P(y) in [0, 1], each `[...]`, float; no gradient.
      eta: Step of the multiplicative update, > 0; 1/η pulls towards the reference.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`; a reward is h(y)/η.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> sure = Pair(jnp.array([1.0]), jnp.array([0.0]))
    >>> print(sppo_soft_loss(lp, lp, mask, sure, eta=2.0).loss.value)
    2.0
    """
    check_positive("eta", eta)
    pairs = sum_pairs(policy, mask, ref)
    won, lost = constants("win_rate", win_rate, pairs)
    losses = jnp.square(pairs.chosen.log_ratios - eta * (won - 0.5))
    losses += jnp.square(pairs.rejected.log_ratios - eta * (lost - 0.5))
    return pair_output(losses, pairs, pairs.rewards(1 / eta))
