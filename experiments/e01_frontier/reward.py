"""A reward learned from pairs, by Newton's method: the likelihood is concave."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.enumlm import World, standardised
from jaxalign.losses import Pair, bradley_terry_loss

NUM_STEPS = 40


def linear_features(world: World) -> np.ndarray:
    """N-gram counts, of mean 0 and variance 1 under the reference: `[X, S, F]`."""
    counts = world.features[:, world.features.std(0) > 0]  # nothing follows EOS
    return standardised(counts[None], np.exp(world.ref_logps))


def tabular_features(world: World) -> np.ndarray:
    """One feature for each response: the reward may be anything, `[X, S, S]`."""
    shape = world.ref_logps.shape
    return np.broadcast_to(np.eye(shape[-1]), (*shape, shape[-1]))


@jax.jit
def fit_rewards(
    features: jax.Array, preferences: jax.Array, ridge: float | jax.Array
) -> jax.Array:
    """Rewards of the largest Bradley–Terry likelihood, with a ridge on the weights.

    Args:
      features: `[X, S, F]`.
      preferences: Share of each (chosen, rejected) pair, `[X, S, S]`.
      ridge: Price of the squared weights; 1/(2N) for N pairs is a normal prior.

    Returns:
      `[X, S]`; NaN where the optimum was not found.
    """

    def of_pair(chosen, rejected):
        pair = Pair(chosen[None], rejected[None])
        return bradley_terry_loss(pair, jnp.ones(1, bool)).loss.value

    def of_prompt(features, shares):
        def cost(weights):
            scores = features @ weights
            of_rivals = jax.vmap(of_pair, (None, 0))
            losses = jax.vmap(of_rivals, (0, None))(scores, scores)
            return jnp.sum(shares * losses) + ridge * jnp.sum(weights**2)

        def step(_, weights):
            slope, curvature = jax.grad(cost)(weights), jax.hessian(cost)(weights)
            return weights - jnp.linalg.solve(curvature, slope)

        start = jnp.zeros(features.shape[-1], features.dtype)
        weights = jax.lax.fori_loop(0, NUM_STEPS, step, start)
        found = jnp.max(jnp.abs(jax.grad(cost)(weights))) < 1e-9
        return jnp.where(found, features @ weights, jnp.nan)

    return jax.vmap(of_prompt)(features, preferences)
