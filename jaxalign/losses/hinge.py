"""Hinge losses: nothing more to gain beyond a margin."""

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.links import pairwise_hinge
from jaxalign.losses.pairs import pair_output
from jaxalign.losses.responses import per_response, sum_pairs
from jaxalign.ops.checks import check_not_negative, check_positive


def hinge_loss(
    policy: Pair[jax.Array],
    ref: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    beta: float = 0.1,
) -> LossOutput:
    """The hinge loss on DPO's margin, as in RSO.

        max(0, 1 − β D)

    The normalised hinge loss of Liu et al., https://arxiv.org/abs/2309.06657,
    where β is called γ. At the kink the gradient is 0.

    In TRL: `hinge`.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      ref: The same tokens under the frozen reference, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      beta: Inverse of the margin D that costs nothing, > 0.

    Returns:
      The mean over pairs, and the metrics of `dpo_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-9.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(hinge_loss(lp, lp, mask).loss.value)  # policy == ref
    1.0
    """
    check_positive("beta", beta)
    pairs = sum_pairs(policy, mask, ref)
    losses = pairwise_hinge(beta * pairs.margins)
    return pair_output(losses, pairs, pairs.rewards(beta))


def slic_loss(
    policy: Pair[jax.Array],
    mask: Pair[jax.Array],
    *,
    delta: float = 1.0,
    nll_weight: float = 0.1,
    target_logps: jax.Array | None = None,
) -> LossOutput:
    """SLiC-HF: rank calibration by a hinge, held by the likelihood of a target.

        max(0, δ − lp(y_w) + lp(y_l)) − λ lp(y_target)

    Eq. 1 of Zhao et al., https://arxiv.org/abs/2305.10425. The target is the
    demonstration of supervised fine-tuning; without one it is the chosen response.

    Args:
      policy: Token log-probabilities under the policy, each `[..., T]`, float.
      mask: True on response tokens, each `[..., T]`, bool.
      delta: δ ≥ 0, the margin that costs nothing.
      nll_weight: λ ≥ 0, weight of the target's negative log-likelihood.
      target_logps: lp(y_target) under the policy, `[...]`, float; with gradient.

    Returns:
      The mean over pairs, the metrics of `dpo_loss` with lp(y) for a reward, and
      `nll_loss`.

    Raises:
      ValueError: If a Python number is out of its range.

    >>> lp = Pair(jnp.array([[-1.0]]), jnp.array([[-1.0]]))
    >>> mask = Pair(jnp.array([[True]]), jnp.array([[True]]))
    >>> print(slic_loss(lp, mask).loss.value)  # δ + λ
    1.1
    """
    check_not_negative("delta", delta)
    check_not_negative("nll_weight", nll_weight)
    pairs = sum_pairs(policy, mask)
    target = pairs.chosen.logps
    if target_logps is not None:
        target = per_response("target_logps", target_logps, pairs.chosen)
    losses = jax.nn.relu(delta - pairs.margins) - nll_weight * target
    return pair_output(losses, pairs, pairs.rewards(1.0), nll_loss=-target)
