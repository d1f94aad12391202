"""Surrogates: what a sampled token costs, from its ratio and its advantage.

All are elementwise, with ρ = exp(log_ratio) and A the advantage; what is masked should
be zero before. Beyond e^±20 a ratio stays as it is and has no gradient.
"""

import jax
import jax.numpy as jnp

from jaxalign.ops import capped_exp
from jaxalign.ops.checks import check_positive, check_range

# As in `ops/kl.py`: a ratio beyond e^20 says no more than that the token is lost.
CAP = 20.0


def unclipped_surrogate(log_ratio: jax.Array, advantages: jax.Array) -> jax.Array:
    """−ρ A: the policy gradient under importance sampling.

    Args:
      log_ratio: log π − log π_old, any shape, float.
      advantages: A, the same shape, float.

    Returns:
      The same shape.

    >>> print(unclipped_surrogate(jnp.log(jnp.array([2.0])), jnp.array([3.0])))
    [-6.]
    """
    return -capped_exp(log_ratio, cap=CAP) * advantages


def clipped_surrogate(
    log_ratio: jax.Array,
    advantages: jax.Array,
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
) -> jax.Array:
    """−min(ρ A, clip(ρ, 1 − ε, 1 + ε) A): a step too far is not rewarded.

    Eq. 7 of Schulman et al., https://arxiv.org/abs/1707.06347.

    Args:
      log_ratio: log π − log π_old, any shape, float.
      advantages: A, the same shape, float.
      clip: ε below 1, in [0, 1].
      clip_high: ε above 1, > 0, also inf; None for the same.

    Returns:
      The same shape.

    >>> log_ratio = jnp.log(jnp.array([2.0, 2.0, 0.5, 0.5]))
    >>> print(clipped_surrogate(log_ratio, jnp.array([1.0, -1.0, 1.0, -1.0])))
    [-1.2  2.  -0.5  0.8]
    """
    ratio = capped_exp(log_ratio, cap=CAP)
    clipped = jnp.clip(ratio, *ratio_bounds(clip, clip_high))
    return -jnp.minimum(ratio * advantages, clipped * advantages)


def dual_clipped_surrogate(
    log_ratio: jax.Array,
    advantages: jax.Array,
    *,
    clip: float = 0.2,
    clip_high: float | None = None,
    dual_clip: float | None = 3.0,
) -> jax.Array:
    """`clipped_surrogate`, and at most −c A where A < 0.

    Eq. 5 of Ye et al., https://arxiv.org/abs/1912.09729.

    Args:
      log_ratio: log π − log π_old, any shape, float.
      advantages: A, the same shape, float.
      clip: ε below 1, in [0, 1].
      clip_high: ε above 1, > 0, also inf; None for the same.
      dual_clip: c > 1; None for no bound.

    Returns:
      The same shape.

    >>> log_ratio = jnp.log(jnp.array([8.0, 8.0]))
    >>> print(dual_clipped_surrogate(log_ratio, jnp.array([1.0, -1.0])))
    [-1.2  3. ]
    """
    losses = clipped_surrogate(log_ratio, advantages, clip=clip, clip_high=clip_high)
    if dual_clip is None:
        return losses
    bound = jnp.minimum(losses, -dual_clip * advantages)
    # Only there has the clipped loss no bound: its maximum takes the unclipped side.
    return jnp.where(advantages < 0, bound, losses)


def cispo_surrogate(
    log_ratio: jax.Array,
    advantages: jax.Array,
    logps: jax.Array,
    *,
    clip: float = 1.0,
    clip_high: float | None = 4.0,
) -> jax.Array:
    """−sg(clip(ρ, 1 − ε_low, 1 + ε_high)) A log π: the clipped ratio is a weight only.

    Eq. 4 and 5 of MiniMax-M1, https://arxiv.org/abs/2506.13585.

    Args:
      log_ratio: log π − log π_old, any shape, float.
      advantages: A, the same shape, float.
      logps: log π of each token, the same shape, float.
      clip: ε_low, in [0, 1]; 1 is no lower bound.
      clip_high: ε_high > 0, also inf; None for the same.

    Returns:
      The same shape.

    >>> one = jnp.ones(1)
    >>> print(cispo_surrogate(jnp.log(9.0 * one), one, -one))
    [5.]
    """
    ratio = jax.lax.stop_gradient(capped_exp(log_ratio, cap=CAP))
    return -jnp.clip(ratio, *ratio_bounds(clip, clip_high)) * advantages * logps


def sapo_surrogate(
    log_ratio: jax.Array,
    advantages: jax.Array,
    *,
    temperature: float = 1.0,
    negative_temperature: float = 1.05,
) -> jax.Array:
    """−(4/τ) σ(τ (ρ − 1)) A,  τ = τ_pos if A > 0, else τ_neg: a sigmoid for a clip.

    Eq. 5 and 6 of https://arxiv.org/abs/2511.20347.

    Args:
      log_ratio: log π − log π_old, any shape, float.
      advantages: A, the same shape, float.
      temperature: τ_pos > 0.
      negative_temperature: τ_neg > 0.

    Returns:
      The same shape.

    >>> print(sapo_surrogate(jnp.zeros(1), jnp.ones(1)))  # 4 σ(0)
    [-2.]
    """
    ratio = capped_exp(log_ratio, cap=CAP)
    tau = jnp.where(advantages > 0, temperature, negative_temperature)
    tau = tau.astype(ratio.dtype)
    return -4 / tau * jax.nn.sigmoid(tau * (ratio - 1)) * advantages


def ratio_bounds(clip, clip_high):
    """1 − ε and 1 + ε."""
    return 1 - clip, 1 + (clip if clip_high is None else clip_high)


def check_clip(clip, clip_high) -> None:
    """Refuses bounds that are negative, or a lower one above 1."""
    check_range("clip", clip, 0, 1, closed_high=True)
    check_positive("clip_high", clip_high, infinite=True)
