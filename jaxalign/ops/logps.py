"""From logits to the log-probabilities that every loss in jaxalign takes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.ops.checks import check_arrays, check_positive
from jaxalign.ops.reduce import sum_dtype


class TokenStats(NamedTuple):
    """What losses and metrics need to know of each token's distribution.

    Attributes:
      logps: `[...]`, log-probability of the target.
      logz: `[...]`, log of the partition function, which z-loss holds near 0.
      mean_logps: `[...]`, log-probability averaged over the vocabulary, for label
        smoothing; `mean_logps + logz` is the mean logit.
      correct: `[...]` bool, whether no other token is likelier than the target.
      entropy: `[...]`, in nats; None unless asked for.
    """

    logps: jax.Array
    logz: jax.Array
    mean_logps: jax.Array
    correct: jax.Array
    entropy: jax.Array | None = None


def token_stats(
    logits: jax.Array,
    targets: jax.Array,
    *,
    temperature: float = 1.0,
    entropy: bool = False,
) -> TokenStats:
    """Statistics of each token's distribution, from whole logits.

    Nothing is shifted here: `logits[..., t, :]` must be the prediction *for*
    `targets[..., t]`. Half-precision logits are taken to float32 first. For a large
    vocabulary `chunked_stats` gives the same without holding all logits.

    Args:
      logits: `[..., T, V]`, any float type.
      targets: `[..., T]`, token ids in `[0, V)`.
      temperature: The distribution is that of `logits / temperature`, > 0.
      entropy: Whether to compute the entropy too.

    Returns:
      `TokenStats` of `[..., T]` arrays.

    >>> stats = token_stats(jnp.zeros((1, 4)), jnp.array([2]), entropy=True)
    >>> print(jnp.exp(stats.logps), jnp.exp(stats.entropy))
    [0.25] [4.]
    """
    check_arrays(logits=(logits, "float[..., V]"), targets=(targets, "int[...]"))
    check_positive("temperature", temperature)
    z = logits.astype(sum_dtype(logits)) / temperature
    # It cancels in value and gradient, and keeps exp from overflowing.
    top = jax.lax.stop_gradient(jnp.max(z, axis=-1))
    picked = jnp.take_along_axis(z, targets[..., None], axis=-1)[..., 0]
    weights = jnp.exp(z - top[..., None])
    partition = jnp.sum(weights, axis=-1)
    logz = top + jnp.log(partition)
    return TokenStats(
        logps=picked - logz,
        logz=logz,
        mean_logps=jnp.mean(z, axis=-1) - logz,
        correct=picked >= top,
        entropy=_entropy(z, logz, weights, partition) if entropy else None,
    )


def _entropy(z, logz, weights, partition) -> jax.Array:
    # A token that cannot come may have a logit of -inf; it adds 0, also to gradients.
    possible = jnp.where(weights > 0, z, 0.0)
    return logz - jnp.sum(weights * possible, axis=-1) / partition


def token_logps(
    logits: jax.Array, targets: jax.Array, *, temperature: float = 1.0
) -> jax.Array:
    """Log-probability of each target token, in float32.

    Args:
      logits: `[..., T, V]`, any float type; `[..., t, :]` predicts `targets[..., t]`.
      targets: `[..., T]`, token ids in `[0, V)`.
      temperature: The distribution is that of `logits / temperature`, > 0.

    Returns:
      `[..., T]`, float32 (float64 for float64 logits).

    >>> print(jnp.exp(token_logps(jnp.zeros((1, 4)), jnp.array([2]))))
    [0.25]
    """
    return token_stats(logits, targets, temperature=temperature).logps


def sequence_logps(logps: jax.Array, mask: jax.Array) -> jax.Array:
    """Sums token log-probabilities over the mask, in float32.

    Args:
      logps: `[..., T]`, float.
      mask: `[..., T]`, bool.

    Returns:
      `[...]`.

    >>> logps, mask = jnp.array([[-1.0, -2.0, 9.0]]), jnp.array([[True, True, False]])
    >>> print(sequence_logps(logps, mask))
    [-3.]
    """
    check_arrays(logps=(logps, "float[+, T]"), mask=(mask, "bool[+, T]"))
    return jnp.sum(logps, axis=-1, dtype=sum_dtype(logps), where=mask)
