"""What a sampler that is not the policy does to the mean score, and a cure.

The score is ∇ log π(a|s). Under the policy its mean is 0 in every state, and so a
constant added to all rewards moves nothing. Under a sampler μ with weights w the mean
is Σ_a μ(a|s) w(a, s) ∇ log π(a|s), which is not 0 unless w = π/μ: truncation and masks
let it drift. A term takes it out, state by state: exactly, since all tokens are listed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxalign.losses import masked_importance_weights, truncated_importance_weights
from jaxalign.ops import masked

Weights = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
"""`(logps, sampler_logps, mask) -> weights`, all `[..., T]`."""


def no_weights(logps: jax.Array, sampler_logps: jax.Array, mask: jax.Array):
    """1 for every token: what was sampled is taken for the policy's own."""
    del logps, sampler_logps
    return mask.astype(float)


def mean_score_term(
    weights: Weights, policy: jax.Array, sampler: jax.Array, advantages, mask
) -> jax.Array:
    """A cost of each token, whose gradient takes the mean score out of the loss.

        A_t Σ_a μ(a|s_t) w(a, s_t) log π(a|s_t)

    To be added to −w_t A_t log π(y_t), as the `penalty` of `policy_gradient_loss`.

    Args:
      weights: Those of the loss.
      policy: Log-probabilities of all tokens in the states of a response,
        `[..., T, V]`.
      sampler: The same under μ.
      advantages: Of each token, `[..., T]`, without gradient.
      mask: `[..., T]` bool.

    Returns:
      `[..., T]`, 0 where masked.
    """
    everywhere = jnp.broadcast_to(mask[..., None], policy.shape)
    given = weights(jax.lax.stop_gradient(policy), sampler, everywhere)
    share = jnp.exp(masked(sampler, everywhere)) * given
    mean = jnp.sum(share * masked(policy, everywhere), axis=-1)
    return masked(jax.lax.stop_gradient(advantages) * mean, mask)


WEIGHTS: dict[str, Weights] = {
    "none": no_weights,
    "truncated": truncated_importance_weights,
    "masked": masked_importance_weights,
}
CENTRED = {f"{name}_centred": weights for name, weights in WEIGHTS.items()}
ARMS = WEIGHTS | CENTRED
