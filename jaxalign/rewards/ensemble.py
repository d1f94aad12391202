"""Several scores of one response as one: an average, or a more careful number."""

import chex
import jax
import jax.numpy as jnp


def ensemble_mean(scores: jax.Array) -> jax.Array:
    """The mean over the models.

    Args:
      scores: `[E, ...]`, what each of E models says, float.

    Returns:
      `[...]`.

    >>> print(ensemble_mean(jnp.array([1.0, 3.0])))
    2.0
    """
    _check(scores)
    return jnp.mean(scores, axis=0)


def ensemble_min(scores: jax.Array) -> jax.Array:
    """The lowest score: the worst-case optimisation of Coste et al.

    See https://arxiv.org/abs/2310.02743.

    Args:
      scores: `[E, ...]`, what each of E models says, float.

    Returns:
      `[...]`.

    >>> print(ensemble_min(jnp.array([1.0, 3.0])))
    1.0
    """
    _check(scores)
    return jnp.min(scores, axis=0)


def mean_minus_variance(
    scores: jax.Array, *, coef: float | jax.Array = 0.1
) -> jax.Array:
    """Mean − k · variance over the models: where they disagree the score counts less.

    The uncertainty-weighted optimisation of Coste et al.
    (https://arxiv.org/abs/2310.02743), with the population variance.

    Args:
      scores: `[E, ...]`, what each of E models says, float.
      coef: k ≥ 0.

    Returns:
      `[...]`.

    >>> print(mean_minus_variance(jnp.array([1.0, 3.0]), coef=0.5))
    1.5
    """
    _check(scores)
    return jnp.mean(scores, axis=0) - coef * jnp.var(scores, axis=0)


def soft_pessimism(scores: jax.Array, *, beta: float | jax.Array = 1.0) -> jax.Array:
    """−β log mean exp(−r/β) over the models: between their mean and their minimum.

    The mean as β → ∞, the minimum as β → 0. It is the certainty equivalent of someone
    with constant absolute risk aversion 1/β.

    Args:
      scores: `[E, ...]`, what each of E models says, float.
      beta: β > 0, in the unit of the scores.

    Returns:
      `[...]`.

    >>> print(soft_pessimism(jnp.array([1.0, 3.0]), beta=0.01).round(2))
    1.01
    """
    _check(scores)
    # By logsumexp: for a small β the exponentials themselves overflow.
    mean = jax.nn.logsumexp(-scores / beta, axis=0) - jnp.log(len(scores))
    return -beta * mean


def _check(scores: jax.Array) -> None:
    chex.assert_type(scores, float)
    chex.assert_axis_dimension_gt(scores, 0, 0)
