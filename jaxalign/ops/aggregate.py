"""From a value for each token to one mean: over tokens, over responses, or a fixed one.

The denominators are sums as well, so each is right over any split of a batch; which one
a method divides by is part of the method.
"""

import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays, check_positive
from jaxalign.ops.reduce import Mean, masked


def token_mean(x: jax.Array, mask: jax.Array) -> Mean:
    """The mean over all tokens of all responses: long responses weigh more.

    Args:
      x: A value for each token, `[..., T]`, float.
      mask: The tokens that count, `[..., T]`, bool.

    Returns:
      Σ x over the number of tokens.

    >>> mask = jnp.array([[True, True, True], [True, False, False]])
    >>> print(token_mean(jnp.array([[1.0, 1.0, 1.0], [5.0, 9.0, 9.0]]), mask).value)
    2.0
    """
    _check(x, mask)
    return Mean.of(x, where=mask)


def sequence_mean(x: jax.Array, mask: jax.Array) -> Mean:
    """The mean over responses of their means over tokens: all responses weigh the same.

    Args:
      x: A value for each token, `[..., T]`, float.
      mask: The tokens that count, `[..., T]`, bool.

    Returns:
      Σ_y (1/|y|) Σ_t x over the number of responses that have a token.

    >>> mask = jnp.array([[True, True, True], [True, False, False]])
    >>> print(sequence_mean(jnp.array([[1.0, 1.0, 1.0], [5.0, 9.0, 9.0]]), mask).value)
    3.0
    """
    _check(x, mask)
    lengths = jnp.maximum(jnp.sum(mask, axis=-1), 1)
    return _over_sequences(x, mask, lengths)


def sequence_sum(x: jax.Array, mask: jax.Array) -> Mean:
    """The mean over responses of their sums over tokens: the exact policy gradient.

    Args:
      x: A value for each token, `[..., T]`, float.
      mask: The tokens that count, `[..., T]`, bool.

    Returns:
      Σ_y Σ_t x over the number of responses that have a token.

    >>> mask = jnp.array([[True, True, True], [True, False, False]])
    >>> print(sequence_sum(jnp.array([[1.0, 1.0, 1.0], [5.0, 9.0, 9.0]]), mask).value)
    4.0
    """
    _check(x, mask)
    return _over_sequences(x, mask, 1)


def fixed_length(x: jax.Array, mask: jax.Array, *, max_length: float) -> Mean:
    """`sequence_sum` divided by one length for all, so that no length is favoured.

    Args:
      x: A value for each token, `[..., T]`, float.
      mask: The tokens that count, `[..., T]`, bool.
      max_length: What to divide by, > 0: the longest response that can be generated.

    Returns:
      Σ_y Σ_t x / `max_length` over the number of responses that have a token.

    >>> mask = jnp.array([[True, True, True], [True, False, False]])
    >>> x = jnp.array([[1.0, 1.0, 1.0], [5.0, 9.0, 9.0]])
    >>> print(fixed_length(x, mask, max_length=8).value)
    0.5
    """
    _check(x, mask)
    check_positive("max_length", max_length)
    return _over_sequences(x, mask, max_length)


def _check(x, mask) -> None:
    check_arrays(x=(x, "float[+, T]"), mask=(mask, "bool[+, T]"))


def _over_sequences(x, mask, divisor) -> Mean:
    sums = jnp.sum(masked(x, mask), axis=-1)
    return Mean.of(
        sums / jnp.asarray(divisor, sums.dtype), where=jnp.any(mask, axis=-1)
    )
