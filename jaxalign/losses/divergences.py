"""Implicit rewards of f-divergences: what a log-ratio to the reference is worth.

A divergence of f has the reward β u(h) with u(h) = f'(e^h) + const, 0 at h = 0: Table 1
of Wang et al., https://arxiv.org/abs/2309.16240. Where an exponential of the log-ratio
occurs, its exponent is capped at ±20: beyond it the gradient is 0. `capped` tells which
responses that are.
"""

import jax
import jax.numpy as jnp

# As in `ops/kl.py`: e^20 says no more than that a response is lost.
CAP = 20.0


def reverse_kl(log_ratio: jax.Array) -> jax.Array:
    """u(h) = h: KL(π ‖ π_ref), the divergence of DPO.

    Args:
      log_ratio: h, any shape, float.

    Returns:
      The same shape.

    >>> print(reverse_kl(jnp.array([2.0])))
    [2.]
    """
    return log_ratio


def forward_kl(log_ratio: jax.Array) -> jax.Array:
    """u(h) = 1 − e^−h: KL(π_ref ‖ π), which wants all of the reference covered.

    Args:
      log_ratio: h, any shape, float.

    Returns:
      The same shape, at most 1.

    >>> print(forward_kl(jnp.log(jnp.array([1.0, 2.0]))))
    [0.  0.5]
    """
    return -jnp.expm1(jnp.clip(-log_ratio, -CAP, CAP))


def jensen_shannon(log_ratio: jax.Array) -> jax.Array:
    """u(h) = log σ(h) + log 2: rewards that are bounded above.

    Args:
      log_ratio: h, any shape, float.

    Returns:
      The same shape, at most log 2.

    >>> print(jensen_shannon(jnp.array([0.0, 100.0])))
    [0.        0.6931472]
    """
    # Of one type with its argument, so that float64 stays what it is.
    log_2 = jnp.log(2.0).astype(log_ratio.dtype)
    return jax.nn.log_sigmoid(log_ratio) + log_2


def alpha_divergence(log_ratio: jax.Array, alpha: float | jax.Array) -> jax.Array:
    """u(h) = (1 − e^−αh)/α: from the reverse KL at α = 0 to the forward KL at α = 1.

    Args:
      log_ratio: h, any shape, float.
      alpha: α in [0, 1], Python or traced.

    Returns:
      The same shape.

    >>> print(alpha_divergence(jnp.log(jnp.array([4.0])), 0.5))
    [1.]
    """
    none = alpha == 0
    exponent = jnp.clip(-alpha * log_ratio, -CAP, CAP)
    # Divided by 1 there: a branch that is not taken still makes NaN gradients.
    reward = -jnp.expm1(exponent) / jnp.where(none, 1.0, alpha)
    return jnp.where(none, log_ratio, reward)


def is_capped(log_ratio: jax.Array, alpha: float | jax.Array = 1.0) -> jax.Array:
    """Whether the exponent of `alpha_divergence` is at its cap; α = 1 is `forward_kl`.

    Args:
      log_ratio: h, any shape, float.
      alpha: α in [0, 1].

    Returns:
      The same shape, bool.

    >>> print(is_capped(jnp.array([-30.0, 1.0])))
    [ True False]
    """
    return jnp.abs(alpha * log_ratio) > CAP
