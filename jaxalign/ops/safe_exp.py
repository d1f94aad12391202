"""Exponentials and logarithms of log-probabilities that stay finite."""

import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays


def capped_exp(log_ratio: jax.Array, *, cap: float = 20.0) -> jax.Array:
    """The exponential of a log-ratio clipped to ±cap, where the gradient is 0.

    Args:
      log_ratio: Any shape, float.
      cap: Where the value stops to follow, > 0.

    Returns:
      The same shape, in [e^−cap, e^cap].

    >>> print(capped_exp(jnp.array([0.0, 1e3]), cap=1.0))
    [1.        2.7182817]
    """
    check_arrays(log_ratio=(log_ratio, "float[...]"))
    return jnp.exp(jnp.clip(log_ratio, -cap, cap))


def log1mexp(a: jax.Array) -> jax.Array:
    """log(1 − eᵃ) for a < 0: the log-probability of everything else.

    The two branches of https://cran.r-project.org/package=Rmpfr/vignettes/log1mexp-note.pdf.
    `a` is capped just below 0, so that value and gradient stay finite.

    Args:
      a: Log-probabilities, any shape, float.

    Returns:
      The same shape.

    >>> print(log1mexp(jnp.log(jnp.array([0.25, 0.5]))))
    [-0.287682... -0.693147...]
    """
    check_arrays(a=(a, "float[...]"))
    a = jnp.minimum(a, -1e-12 if a.dtype == jnp.float64 else -1e-6)
    near = a > -jnp.log(2.0).astype(a.dtype)
    # Each branch sees inputs at which it is safe: else its NaN reaches the gradient.
    log_expm1 = jnp.log(-jnp.expm1(jnp.where(near, a, -1.0)))
    log1p_exp = jnp.log1p(-jnp.exp(jnp.where(near, -1.0, a)))
    return jnp.where(near, log_expm1, log1p_exp)
