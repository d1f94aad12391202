"""Token-level DPO: the divergence of whole distributions, token by token."""

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_logistic
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import check_pairs, sum_pairs
from jaxalign.ops import sequence_logps
from jaxalign.ops.checks import check_not_negative, check_positive


def tdpo1_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    kl: Pair[jax.Array],
    *,
    beta: float = 0.1,
) -> LossOutput:
    """Token-level DPO, first form: DPO with the difference of sequence divergences.

        −log σ(β [D − (K(y_l) − K(y_w))]),  K(y) = Σ_t KL(π_ref(·|s_t) ‖ π(·|s_t))

    Zeng et al., https://arxiv.org/abs/2404.11999. It needs both models' full
    distributions: `ops.chunked_kl` gives the divergence of each token.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      kl: KL(π_ref ‖ π) of the distribution at each token, each `[..., T]`, float.
      beta: Strength of the pull towards the reference, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(tdpo1_loss(lp, lp, mask, Pair(-lp.chosen, -lp.chosen)).loss.value)
    0.6931472
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    divergence = _sequence_kl(kl, mask)
    margins = pairs.margins - (divergence.rejected - divergence.chosen)
    return pair_output(pairwise_logistic(beta * margins), pairs, pairs.rewards(beta))


def tdpo2_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    kl: Pair[jax.Array],
    *,
    beta: float = 0.1,
    alpha: float = 0.5,
) -> LossOutput:
    """Token-level DPO, second form: only the rejected response's divergence is moved.

        −log σ(β [D − α (K(y_l) − sg K(y_w))]),  K(y) = Σ_t KL(π_ref(·|s_t) ‖ π(·|s_t))

    Zeng et al., https://arxiv.org/abs/2404.11999; sg stops the gradient. It
    needs both models' full distributions: `ops.chunked_kl` gives each token's.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      kl: KL(π_ref ‖ π) of the distribution at each token, each `[..., T]`, float.
      beta: Strength of the pull towards the reference, > 0.
      alpha: Weight of the divergences, ≥ 0; 0 is DPO.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(tdpo2_loss(lp, lp, mask, Pair(-lp.chosen, -lp.chosen)).loss.value)
    0.6931472
    """
    check_positive("beta", beta)
    check_not_negative("alpha", alpha)
    pairs = sum_pairs(policy, mask, ref)
    divergence = _sequence_kl(kl, mask)
    held = jax.lax.stop_gradient(divergence.chosen)
    margins = pairs.margins - alpha * (divergence.rejected - held)
    return pair_output(pairwise_logistic(beta * margins), pairs, pairs.rewards(beta))


def _sequence_kl(kl: Pair[jax.Array], mask: Pair[jax.Array]) -> Pair[jax.Array]:
    check_pairs(kl=kl, mask=mask)
    return Pair(*map(sequence_logps, kl, mask))
