"""Estimates of a KL divergence from the log-probabilities of sampled tokens.

With lr = log π − log π_ref of a token sampled from π, the mean of k1 and of k3 is
KL(π ‖ π_ref), that of k2 only nearly so. As terms of a loss they differ more: over
whole responses the gradient of k1 has mean 0, that of k2 is the gradient of
KL(π ‖ π_ref), and that of k3 is the gradient of KL(π_ref ‖ π), the other direction.
Summed over tokens, none of them is the gradient of the divergence of responses, for the
effect of a token on what follows is lost. See http://joschu.net/blog/kl-approx.html.
"""

import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays
from jaxalign.ops.reduce import masked, sum_dtype

# e^20 is 5e8: a ratio beyond says no more than that the token is lost.
CAP = 20.0


def kl_k1(logps: jax.Array, ref_logps: jax.Array, mask: jax.Array) -> jax.Array:
    """lr: unbiased, of any sign; for rewards, since as a loss it regularises nothing.

    Args:
      logps: Of sampled tokens under π, or summed over responses, any shape, float.
      ref_logps: Of the same under π_ref, the same shape, float; no gradient.
      mask: Which of them count, the same shape, bool.

    Returns:
      The same shape, 0 where masked.

    >>> one = jnp.ones(1, bool)
    >>> print(kl_k1(jnp.array([-1.0]), jnp.array([-3.0]), one))
    [2.]
    """
    check_arrays(
        logps=(logps, "float[...]"),
        ref_logps=(ref_logps, "float[...]"),
        mask=(mask, "bool[...]"),
    )
    return masked(logps, mask) - masked(jax.lax.stop_gradient(ref_logps), mask)


def kl_k2(logps: jax.Array, ref_logps: jax.Array, mask: jax.Array) -> jax.Array:
    """lr²/2: biased in value, but its gradient over whole responses is KL's.

    Args:
      logps: Of sampled tokens under π, or summed over responses, any shape, float.
      ref_logps: Of the same under π_ref, the same shape, float; no gradient.
      mask: Which of them count, the same shape, bool.

    Returns:
      The same shape, 0 where masked.

    >>> one = jnp.ones(1, bool)
    >>> print(kl_k2(jnp.array([-1.0]), jnp.array([-3.0]), one))
    [2.]
    """
    return 0.5 * jnp.square(kl_k1(logps, ref_logps, mask))


def kl_k3(logps: jax.Array, ref_logps: jax.Array, mask: jax.Array) -> jax.Array:
    """e^(−lr) − 1 + lr: unbiased and never negative; its gradient is KL(π_ref ‖ π)'s.

    Where the reference is e²⁰ times as likely as π and more, the value stays that of
    e²⁰ and the gradient is 0.

    Args:
      logps: Of sampled tokens under π, or summed over responses, any shape, float.
      ref_logps: Of the same under π_ref, the same shape, float; no gradient.
      mask: Which of them count, the same shape, bool.

    Returns:
      The same shape, 0 where masked.

    >>> one = jnp.ones(1, bool)
    >>> print(kl_k3(jnp.array([-1.0]), jnp.array([-1.0 + jnp.log(2.0)]), one))
    [0.30685...]
    """
    # Both terms are capped: with the exponential alone, a lost token would be pushed
    # further away.
    log_ratio = jnp.maximum(kl_k1(logps, ref_logps, mask), -CAP)
    return jnp.expm1(-log_ratio) + log_ratio


def kl_k3_k2(logps: jax.Array, ref_logps: jax.Array, mask: jax.Array) -> jax.Array:
    """The value of `kl_k3` with the gradient of `kl_k2`.

    Args:
      logps: Of sampled tokens under π, or summed over responses, any shape, float.
      ref_logps: Of the same under π_ref, the same shape, float; no gradient.
      mask: Which of them count, the same shape, bool.

    Returns:
      The same shape, 0 where masked.

    >>> one, zero = jnp.ones(1, bool), jnp.zeros(1)
    >>> print(jax.grad(lambda x: kl_k3_k2(x, zero, one).sum())(jnp.array([3.0])))
    [3.]
    """
    slope = kl_k2(logps, ref_logps, mask)
    value = jax.lax.stop_gradient(kl_k3(logps, ref_logps, mask))
    return value + (slope - jax.lax.stop_gradient(slope))


def kl_exact(logits: jax.Array, ref_logits: jax.Array) -> jax.Array:
    """KL(π ‖ π_ref) of whole distributions, Σ_v π log(π/π_ref).

    For a large vocabulary `chunked_kl` gives the same without holding all logits.

    Args:
      logits: Finite, `[..., V]`, float.
      ref_logits: Finite, `[..., V]`, float.

    Returns:
      `[...]`.

    >>> print(kl_exact(jnp.array([0.0, 0.0]), jnp.log(jnp.array([0.2, 0.8]))))
    0.22314...
    """
    check_arrays(
        logits=(logits, "float[..., V]"), ref_logits=(ref_logits, "float[..., V]")
    )
    logp, logq = (
        jax.nn.log_softmax(x.astype(sum_dtype(x))) for x in (logits, ref_logits)
    )
    return jnp.sum(jnp.exp(logp) * (logp - logq), axis=-1)
