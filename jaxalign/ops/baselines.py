"""Further baselines and scales of advantages, for groups of responses to a prompt.

As in `advantages.py`: groups are `[..., K]` with a mask, and rewards get no gradient.
"""

import jax
import jax.numpy as jnp

from jaxalign.ops.advantages import centered_group_advantages, group_advantages
from jaxalign.ops.checks import check_arrays, check_not_negative
from jaxalign.ops.reduce import masked
from jaxalign.ops.whitening import Moments, masked_whiten


def batch_scaled_advantages(
    rewards: jax.Array,
    mask: jax.Array,
    *,
    eps: float = 1e-4,
    moments: Moments | None = None,
) -> jax.Array:
    """R − mean of the group, in units of the standard deviation of the whole batch.

        (R − mean_group R)/(std_batch R + ε)

    Liu et al. (Lite PPO), https://arxiv.org/abs/2508.08221: a group in which all but
    one are right no longer weighs more than others. The deviation is that of the
    rewards themselves, with n − 1.

    Args:
      rewards: `[..., K]`, float; K ≥ 2.
      mask: The responses that are there, `[..., K]`, bool.
      eps: ε ≥ 0.
      moments: `Moments.of(rewards, where=mask)` added up over all parts of the batch;
        None if this is all of it.

    Returns:
      `[..., K]`, 0 where masked; all 0 where rewards do not differ.

    Raises:
      UserError: If K is 1.

    >>> rewards, mask = jnp.array([[1.0, 3.0], [2.0, 2.0]]), jnp.ones((2, 2), bool)
    >>> print(batch_scaled_advantages(rewards, mask, eps=0.0))
    [[-1.2247448  1.2247448]
     [ 0.         0.       ]]
    """
    check_not_negative("eps", eps)
    centered = centered_group_advantages(rewards, mask)
    moments = Moments.of(rewards, where=mask) if moments is None else moments
    std = jnp.sqrt(moments.squares / jnp.maximum(moments.weight - 1, 1))
    std = jax.lax.stop_gradient(std)
    return centered / (jnp.where(std > 0, std, 1.0) + eps)


def length_weighted_advantages(
    rewards: jax.Array, lengths: jax.Array, mask: jax.Array
) -> jax.Array:
    """OPO's advantages: R less a mean of the group in which long responses weigh more.

        R − Σ_k |y_k| R_k / Σ_k |y_k|

    Hao et al., https://arxiv.org/abs/2505.23585: the baseline of least variance if the
    squared gradient of a response grows as its length.

    Args:
      rewards: `[..., K]`, float; K ≥ 2.
      lengths: |y| of each response, the same shape, int or float.
      mask: The responses that are there, `[..., K]`, bool.

    Returns:
      `[..., K]`, 0 where masked; 0 for a response alone.

    Raises:
      UserError: If K is 1.

    >>> rewards, lengths = jnp.array([[1.0, 5.0]]), jnp.array([[3, 1]])
    >>> print(length_weighted_advantages(rewards, lengths, jnp.ones((1, 2), bool)))
    [[-1.  3.]]
    """
    check_arrays(
        rewards=(rewards, "float[..., K]"),
        lengths=(lengths, "int|float[..., K]"),
        mask=(mask, "bool[..., K]"),
    )
    # Centred first: so equal rewards give exactly 0, whatever the lengths.
    centered = centered_group_advantages(rewards, mask)
    weights = masked(jax.lax.stop_gradient(lengths).astype(centered.dtype), mask)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    mean = jnp.sum(weights * centered, axis=-1, keepdims=True)
    mean = mean / jnp.where(total > 0, total, 1.0)
    return jnp.where(mask, centered - mean, 0.0)


def decoupled_group_advantages(
    rewards: jax.Array,
    mask: jax.Array,
    *,
    weights: jax.Array | None = None,
    eps: float = 1e-4,
    moments: Moments | None = None,
) -> jax.Array:
    """GDPO's advantages: each reward in units of its own deviation within the group.

        whiten(Σ_n w_n (R_n − mean_group R_n)/(std_group R_n + ε))

    Liu et al., https://arxiv.org/abs/2601.05242: summed before, a reward of large
    spread would drown the others, and different combinations would become the same. The
    sum is whitened over the whole batch.

    Args:
      rewards: `[..., K, N]`, N rewards of each response, float; K ≥ 2.
      mask: The responses that are there, `[..., K]`, bool.
      weights: w, `[N]`, float; None for 1.
      eps: ε ≥ 0.
      moments: Those of the weighted sums over the whole batch, if this is a part of it.

    Returns:
      `[..., K]`, 0 where masked.

    Raises:
      UserError: If K is 1.

    >>> rewards = jnp.array([[[1.0, 100.0], [0.0, 300.0], [0.0, 200.0]]])
    >>> mask = jnp.ones((1, 3), bool)
    >>> print(decoupled_group_advantages(rewards, mask, eps=0.0).round(2))
    [[ 0.37  1.   -1.37]]
    """
    check_arrays(
        rewards=(rewards, "float[..., K, N]"),
        mask=(mask, "bool[..., K]"),
        weights=(weights, "float[N]"),
    )
    apart = jnp.moveaxis(rewards, -1, 0)
    each = jax.vmap(lambda r: group_advantages(r, mask, eps=eps))(apart)
    if weights is not None:
        scale = jax.lax.stop_gradient(weights).astype(each.dtype)
        each = each * scale.reshape(-1, *[1] * mask.ndim)
    return masked_whiten(jnp.sum(each, axis=0), mask, moments=moments)


def optimal_token_advantages(
    returns: jax.Array, energies: jax.Array, mask: jax.Array
) -> jax.Array:
    """Returns less, at each token, the baseline of least variance within the group.

        G_t − Σ_k W_{k,t} G_{k,t} / Σ_k W_{k,t},  W_{k,t} = Σ_{j ≤ t} w_{k,j}

    The optimal token baseline of https://arxiv.org/abs/2602.07078: W is the energy of
    the gradient up to the token. That of one token is estimated by the squared gradient
    of its logits, w = 1 − 2 π(y_t) + Σ_v π(v)², from `token_energies`. Only responses
    that have a t-th token take part there.

    Args:
      returns: G, the reward to go of each token, `[..., K, T]`, float; K ≥ 2.
      energies: w ≥ 0 of each token, `[..., K, T]`, float.
      mask: The tokens of the responses, `[..., K, T]`, bool.

    Returns:
      `[..., K, T]`, 0 where masked and where no other response is as long.

    >>> returns, energies = jnp.array([[1.0], [4.0]]), jnp.array([[2.0], [1.0]])
    >>> print(optimal_token_advantages(returns, energies, jnp.ones((2, 1), bool)))
    [[-1.]
     [ 2.]]
    """
    check_arrays(
        returns=(returns, "float[..., K, T]"),
        energies=(energies, "float[..., K, T]"),
        mask=(mask, "bool[..., K, T]"),
    )
    returns, energies = jax.lax.stop_gradient((returns, energies))
    returns = masked(returns, mask)
    weights = masked(jnp.cumsum(masked(energies, mask), axis=-1), mask)
    total = jnp.sum(weights, axis=-2, keepdims=True)
    baseline = jnp.sum(weights * returns, axis=-2, keepdims=True)
    baseline = baseline / jnp.where(total > 0, total, 1.0)
    return jnp.where(mask, returns - baseline, 0.0)


def token_energies(logps: jax.Array, log_sum_squares: jax.Array) -> jax.Array:
    """The squared gradient of a token's log-probability by its logits.

        w = 1 − 2 π(y_t) + Σ_v π(v|s_t)²

    Args:
      logps: log π(y_t), any shape, float.
      log_sum_squares: log Σ_v π(v|s_t)², the same shape, float.

    Returns:
      The same shape, in [0, 2].

    >>> print(token_energies(jnp.log(jnp.array([0.5])), jnp.log(jnp.array([0.5]))))
    [0.5]
    """
    check_arrays(
        logps=(logps, "float[...]"), log_sum_squares=(log_sum_squares, "float[...]")
    )
    return 1 - 2 * jnp.exp(logps) + jnp.exp(log_sum_squares)
