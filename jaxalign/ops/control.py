"""Coefficients that follow what they control; their only state is the coefficient."""

import jax
import jax.numpy as jnp


def adaptive_kl_update(
    coef: jax.Array,
    kl: jax.Array,
    *,
    target: float,
    horizon: float,
    num_episodes: float,
) -> jax.Array:
    """The next KL coefficient, raised where the divergence is above its target.

        β ← β (1 + clip(KL/target − 1, ±0.2) · n/horizon)

    Sec. 2.2 of Ziegler et al., https://arxiv.org/abs/1909.08593, where β begins at 0.1
    to 0.2, the target is 6 nats a response and the horizon 10,000 episodes.

    Args:
      coef: β, a scalar.
      kl: The measured divergence, a scalar.
      target: The divergence wanted, > 0.
      horizon: Episodes in which β can change by about a fifth, > 0.
      num_episodes: n, the episodes of this step.

    Returns:
      The new β.

    >>> options = {"target": 6.0, "horizon": 100, "num_episodes": 10}
    >>> print(adaptive_kl_update(jnp.float32(1.0), jnp.float32(60.0), **options))
    1.02
    """
    error = jnp.clip(kl / target - 1, -0.2, 0.2)
    return jax.lax.stop_gradient(coef * (1 + error * num_episodes / horizon))


def fixed_kl_update(coef: jax.Array, kl: jax.Array) -> jax.Array:
    """The coefficient as it is: what stands for `adaptive_kl_update` in a fixed run.

    >>> print(fixed_kl_update(jnp.float32(0.5), jnp.float32(60.0)))
    0.5
    """
    del kl
    return coef


def adaptive_entropy_update(
    coef: jax.Array,
    entropy: jax.Array,
    *,
    target: float,
    delta: float = 0.005,
    lowest: float = 0.0,
    highest: float = 1.0,
) -> jax.Array:
    """The next entropy coefficient: one step up below the target, one down above it.

    That of Skywork-OR1, https://arxiv.org/abs/2505.22312, which begins at 0 and adds
    the bonus only in steps whose entropy is not above the target.

    Args:
      coef: A scalar.
      entropy: The measured mean entropy of a token in nats, a scalar.
      target: The entropy wanted, ≥ 0.
      delta: The size of a step, > 0.
      lowest: The least coefficient.
      highest: The greatest coefficient.

    Returns:
      The new coefficient.

    >>> coef, entropy = jnp.float32(0.0), jnp.float32(0.1)
    >>> print(adaptive_entropy_update(coef, entropy, target=0.2))
    0.005
    """
    new = coef + delta * jnp.sign(target - entropy)
    return jax.lax.stop_gradient(jnp.clip(new, lowest, highest))
