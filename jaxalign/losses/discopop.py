"""A loss found by a search over programs."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.dpo import pairwise_logistic
from jaxalign.losses.pairs import pair_output, sum_pairs
from jaxalign.ops.checks import check_positive, check_range


def discopop_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
    tau: float = 0.05,
) -> LossOutput:
    """DiscoPOP: a blend of the logistic and the exponential loss.

        (1 − m) [−log σ(z)] + m e^−z,  z = β D,  m = σ(z/τ)

    The log-ratio modulated loss of Lu et al., https://arxiv.org/abs/2406.08414, Eq. 5:
    not convex, with a local optimum at negative z. Its second term is computed as
    exp(log σ(z/τ) − z), which does not overflow.

    In TRL: `discopop`, which overflows at large margins.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      tau: How gradually the loss switches at z = 0, in [0, 1); 0 is at once.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(discopop_loss(lp, lp, mask).loss.value)  # (1 + log 2)/2
    0.8465736
    """
    check_positive("beta", beta)
    check_range("tau", tau, 0, 1)
    pairs = sum_pairs(policy, mask, ref)
    z = beta * pairs.margins
    scaled = jnp.where(tau == 0, jnp.sign(z) * 1e9, z / jnp.where(tau == 0, 1.0, tau))
    logistic = jax.nn.sigmoid(-scaled) * pairwise_logistic(z)
    exponential = jnp.exp(jax.nn.log_sigmoid(scaled) - z)
    return pair_output(logistic + exponential, pairs, pairs.rewards(beta))
