"""Expected losses over all samples a policy could draw, for exact gradients."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp


def expected_loss(logps: jax.Array, losses: jax.Array) -> jax.Array:
    """Σ_y π(y|x) ℓ(y), averaged over prompts, as the sampler sees it.

    The gradient of the probabilities is stopped: differentiating this gives the
    expectation of the gradient that a training step computes from one sample.

    Args:
      logps: `[X, S]`, of the policy that is sampled from.
      losses: `[X, S]`, the loss if y is the sample.

    Returns:
      A scalar.
    """
    return jnp.mean(jnp.sum(jax.lax.stop_gradient(jnp.exp(logps)) * losses, axis=-1))


def expected_loss_of_groups(
    logps: jax.Array, loss_of: Callable[[jax.Array], jax.Array], size: int
) -> jax.Array:
    """The same for a loss of a group of independent samples, over all Sᴷ groups.

    Args:
      logps: `[S]`, of one prompt's responses.
      loss_of: From indices `[size]` of responses to the group's loss, a scalar.
      size: K, samples in a group.

    Returns:
      A scalar.
    """
    groups = jnp.array(list(itertools.product(range(len(logps)), repeat=size)))
    probability = jnp.exp(jnp.sum(jax.lax.stop_gradient(logps)[groups], axis=-1))
    return jnp.sum(probability * jax.vmap(loss_of)(groups))
