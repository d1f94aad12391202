"""A loss found by a search over programs."""

import jax
import jax.numpy as jnp

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import sum_pairs
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
    not convex, with a local optimum at negative z.

    In TRL: `discopop`, which overflows at large margins.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Strength of the pull towards the reference, > 0.
      tau: Temperature of the switch at z = 0, in [0, 1); 0 is at once.

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
    losses = pairwise_discopop(beta * pairs.margins, tau=tau)
    return pair_output(losses, pairs, pairs.rewards(beta))


def pairwise_discopop(margin: jax.Array, *, tau: float | jax.Array = 0.05) -> jax.Array:
    """A blend of the logistic and the exponential link.

        (1 − w) [−log σ(m)] + w e^−m,  w = σ(m/τ)

    Eq. 5 of https://arxiv.org/abs/2406.08414. The second term is computed as
    exp(log σ(m/τ) − m), which does not overflow.

    Args:
      margin: m, any shape, float.
      tau: τ in [0, 1), how gradually it switches at m = 0; 0 is at once.

    Returns:
      The same shape.

    >>> print(pairwise_discopop(jnp.zeros(1)))
    [0.8465736]
    """
    # Large enough for a sigmoid of 0 or 1, and finite.
    at_once = jnp.sign(margin) * 1e9
    # Divided by 1 there: a branch that is not taken still makes NaN gradients.
    scaled = jnp.where(tau == 0, at_once, margin / jnp.where(tau == 0, 1.0, tau))
    exponential = jnp.exp(jax.nn.log_sigmoid(scaled) - margin)
    return jax.nn.sigmoid(-scaled) * pairwise_logistic(margin) + exponential
