"""The best of n samples: which it is, what it is worth, and how far it goes."""

import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays, check_range
from jaxalign.ops.reduce import masked


def best_of_n(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """The index of the highest score; of equal ones the first.

    Args:
      scores: `[..., N]`, float: of a reward model, or implicit rewards.
      mask: The samples that are there, `[..., N]`, bool.

    Returns:
      `[...]`, int; 0 if there are none.

    >>> print(best_of_n(jnp.array([1.0, 7.0, 9.0]), jnp.array([True, True, False])))
    1
    """
    check_arrays(scores=(scores, "float[..., N]"), mask=(mask, "bool[..., N]"))
    highest = jnp.max(scores, axis=-1, keepdims=True, where=mask, initial=-jnp.inf)
    # Among those that are there, whose best may be -inf.
    return jnp.argmax(mask & ~(scores < highest), axis=-1)


def expected_best_of_n(scores: jax.Array, mask: jax.Array, *, n: int) -> jax.Array:
    """The expected highest score of n samples, without bias, from N ≥ n of them.

        Σ_i C(i − 1, n − 1)/C(N, n) s_(i),  s_(1) ≤ … ≤ s_(N)

    The mean of the highest score over all subsets of n; the estimator of WebGPT,
    https://arxiv.org/abs/2112.09332.

    Args:
      scores: `[..., N]`, float.
      mask: The samples that are there, `[..., N]`, bool.
      n: How many to choose from, ≥ 1.

    Returns:
      `[...]`; NaN where fewer than n samples are there.

    >>> print(expected_best_of_n(jnp.array([1.0, 2.0, 6.0]), jnp.ones(3, bool), n=2))
    4.66666...
    """
    check_range("n", n, 1, float("inf"))
    check_arrays(scores=(scores, "float[..., N]"), mask=(mask, "bool[..., N]"))
    scores = masked(scores, mask)
    size = scores.shape[-1]
    count = jnp.sum(mask, axis=-1, keepdims=True, dtype=scores.dtype)
    ascending = jnp.sort(jnp.where(mask, scores, -jnp.inf), axis=-1)
    places = jnp.broadcast_to(jnp.arange(size, dtype=scores.dtype), scores.shape)
    rank = 1 + places - (size - count)
    # The weight of the highest is n/N; each before it follows from the next, and no
    # binomial, which might overflow, is ever there.
    step = jnp.maximum(rank - n + 1, 0) / jnp.maximum(rank, 1)
    step = step.at[..., -1].set(n / jnp.maximum(count[..., 0], 1))
    weights = jnp.flip(jnp.cumprod(jnp.flip(step, axis=-1), axis=-1), axis=-1)
    # Those that are never the best may be -inf: the absent, and the lowest n - 1.
    total = jnp.sum(jnp.where(weights > 0, ascending, 0.0) * weights, axis=-1)
    return jnp.where(count[..., 0] >= n, total, jnp.nan)


def best_of_n_kl_bound(n: jax.Array) -> jax.Array:
    """At most how far best-of-n sampling is from the policy: log n − (n − 1)/n nats.

    The divergence reaches it only if no two samples can be alike; else it is less, and
    may be far less: Beirami et al., https://arxiv.org/abs/2401.01879.

    Args:
      n: Any shape, float, ≥ 1.

    Returns:
      The same shape.

    >>> print(best_of_n_kl_bound(jnp.array([1.0, 4.0])))
    [0.         0.63629...]
    """
    check_arrays(n=(n, "float[...]"))
    return jnp.log(n) - (n - 1) / n
