"""Whitening: to mean 0 and variance 1 over the unmasked elements of a whole batch."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays
from jaxalign.ops.reduce import Mean, masked

# Under the root, as in TRL: what does not vary gives 0.
EPS = 1e-8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and variance, kept so that parts of a batch merge into those of the whole.

    `a + b` merges microbatches, `moments.over(axis)` merges devices, both exactly. Sums
    of squares about each part's own mean are kept: sums of plain squares would lose
    their low digits where the mean is large.

    Attributes:
      weight: Scalar, how many elements.
      mean: Scalar.
      squares: Scalar, the sum of (x − mean)².

    >>> a = Moments.of(jnp.array([1.0, 2.0]), where=jnp.array([True, True]))
    >>> b = Moments.of(jnp.array([6.0, 9.0]), where=jnp.array([True, False]))
    >>> print((a + b).mean, (a + b).variance)
    3.0 4.66666...
    """

    weight: jax.Array
    mean: jax.Array
    squares: jax.Array

    @classmethod
    def of(cls, x: jax.Array, where: jax.Array) -> "Moments":
        """The moments of `x` over the elements where the bool `where` is set.

        Args:
          x: Any shape, float.
          where: The same shape, bool.

        Returns:
          Scalars, float32 (float64 for float64 `x`).
        """
        x, mean = masked(x, where), Mean.of(x, where=where)
        # A rounded mean is off even where all are equal: that would be a deviation,
        # which whitening takes to 1. The mean of what is left over mends it.
        centre = mean.value + Mean.of(x - mean.value, where=where).value
        squares = jnp.sum(jnp.square(x - centre), where=where)
        return cls(mean.weight, centre, squares)

    def __add__(self, other: "Moments") -> "Moments":
        """The moments of both parts together."""
        weight = self.weight + other.weight
        share = other.weight / jnp.maximum(weight, 1)
        gap = other.mean - self.mean
        squares = self.squares + other.squares + self.weight * share * jnp.square(gap)
        return Moments(weight, self.mean + share * gap, squares)

    def over(self, axis_name: str) -> "Moments":
        """The moments of all devices' parts together, inside `shard_map` or `pmap`."""
        weight = jax.lax.psum(self.weight, axis_name)
        total = jax.lax.psum(self.weight * self.mean, axis_name)
        mean = total / jnp.maximum(weight, 1)
        # Rounded, and mended as in `of`.
        rest = jax.lax.psum(self.weight * (self.mean - mean), axis_name)
        mean = mean + rest / jnp.maximum(weight, 1)
        squares = self.squares + self.weight * jnp.square(self.mean - mean)
        return Moments(weight, mean, jax.lax.psum(squares, axis_name))

    @property
    def variance(self) -> jax.Array:
        """That of the elements themselves, with no n − 1."""
        return self.squares / jnp.maximum(self.weight, 1)


def masked_whiten(
    x: jax.Array, mask: jax.Array, *, moments: Moments | None = None
) -> jax.Array:
    """Shifts and scales to mean 0 and variance 1: (x − μ) / √(σ² + 1e-8).

    A single element gives 0.

    Args:
      x: Any shape, float.
      mask: The elements that count, the same shape, bool.
      moments: Those of the whole batch, if `x` is a part of it.

    Returns:
      The same shape, 0 where masked.

    >>> x, mask = jnp.array([1.0, 3.0, 99.0]), jnp.array([True, True, False])
    >>> print(masked_whiten(x, mask))
    [-1.  1.  0.]
    """
    moments = Moments.of(x, where=mask) if moments is None else moments
    scale = jax.lax.rsqrt(moments.variance + EPS)
    return jnp.where(mask, (masked(x, mask) - moments.mean) * scale, 0.0)


def masked_rescale(
    x: jax.Array, mask: jax.Array, *, moments: Moments | None = None
) -> jax.Array:
    """Scales to variance 1 about the mean, which stays: `masked_whiten` plus μ.

    Args:
      x: Any shape, float.
      mask: The elements that count, the same shape, bool.
      moments: Those of the whole batch, if `x` is a part of it.

    Returns:
      The same shape, 0 where masked.

    >>> x, mask = jnp.array([1.0, 5.0, 99.0]), jnp.array([True, True, False])
    >>> print(masked_rescale(x, mask))
    [2. 4. 0.]
    """
    moments = Moments.of(x, where=mask) if moments is None else moments
    whitened = masked_whiten(x, mask, moments=moments)
    return jnp.where(mask, whitened + moments.mean, 0.0)


def reinforce_pp_advantages(
    returns: jax.Array, mask: jax.Array, *, moments: Moments | None = None
) -> jax.Array:
    """REINFORCE++'s advantages: reward-to-go, whitened over the whole batch.

    Hu et al., https://arxiv.org/abs/2501.03262: rewards carry the KL penalty of each
    token (`rewards.token_rewards`), and `ppo_policy_loss` takes the result. Its form
    with a baseline puts `centered_group_advantages` for the scores.

    Args:
      returns: `reward_to_go` of the token rewards, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      moments: Those of the whole batch's returns, if this is a part of it.

    Returns:
      `[..., T]`, 0 where masked, without a gradient.

    >>> returns, mask = jnp.array([[1.0, 1.0], [3.0, 3.0]]), jnp.ones((2, 2), bool)
    >>> print(reinforce_pp_advantages(returns, mask))
    [[-1. -1.]
     [ 1.  1.]]
    """
    check_arrays(returns=(returns, "float[+, T]"), mask=(mask, "bool[+, T]"))
    return jax.lax.stop_gradient(masked_whiten(returns, mask, moments=moments))
