"""Identity Preference Optimization: a margin to reach and not to pass."""

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_square
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import sum_pairs
from jaxalign.ops.checks import check_positive


def ipo_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    tau: float = 0.1,
) -> LossOutput:
    """Identity Preference Optimization, on summed log-probabilities as in the paper.

        (D − 1/(2τ))²

    Eq. 17 of Azar et al., https://arxiv.org/abs/2310.12036. Its optimum is
    π ∝ π_ref exp(P(y ≻ ref)/τ), which needs the sum: `ipo_length_normalised_loss` is
    another loss.

    In TRL: `ipo` is the length-normalised one, with τ under the name of β.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      tau: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`; a reward is τ h(y).

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(ipo_loss(lp, lp, mask, tau=0.25).loss.value)  # policy == ref: 1/(4τ²)
    4.0
    """
    check_positive("tau", tau)
    pairs = sum_pairs(policy, mask, ref)
    losses = pairwise_square(pairs.margins, target=1 / (2 * tau))
    return pair_output(losses, pairs, pairs.rewards(tau))


def ipo_length_normalised_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    tau: float = 0.1,
) -> LossOutput:
    """IPO on log-ratios per token: the form that most trainers call IPO.

        (h(y_w)/|y_w| − h(y_l)/|y_l| − 1/(2τ))²

    From Eq. 17 of https://arxiv.org/abs/2310.12036 by dividing each log-ratio by the
    length of its response; the optimum of `ipo_loss` is not its own.

    In TRL: `ipo`, with τ under the name of β.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      tau: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`; a reward is τ h(y)/|y|.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(ipo_length_normalised_loss(lp, lp, mask, tau=0.25).loss.value)
    4.0
    """
    check_positive("tau", tau)
    pairs = sum_pairs(policy, mask, ref)
    chosen, rejected = pairs.each(lambda y: y.mean_log_ratios)
    losses = pairwise_square(chosen - rejected, target=1 / (2 * tau))
    return pair_output(losses, pairs, pairs.each(lambda y: tau * y.mean_log_ratios))
