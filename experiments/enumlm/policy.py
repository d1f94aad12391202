"""The tabular policy: a row of logits for each prompt and prefix."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.enumlm.responses import Responses
from jaxalign.ops import sequence_logps


def tabular(params: jax.Array) -> jax.Array:
    """The table of a policy whose parameters are its table, `[X, P, V]`."""
    return params


def token_logps(logits: jax.Array, responses: Responses) -> jax.Array:
    """Log-probability of each token of each response.

    Args:
      logits: `[..., P, V]`.
      responses: S responses of L tokens at most.

    Returns:
      `[..., S, L]`; entries that `responses.mask` leaves out mean nothing.
    """
    return jax.nn.log_softmax(logits)[..., responses.prefix, responses.token]


def response_logps(logits: jax.Array, responses: Responses) -> jax.Array:
    """Log-probability of each response: `[..., P, V]` logits give `[..., S]`."""
    logps = token_logps(logits, responses)
    return sequence_logps(logps, jnp.broadcast_to(responses.mask, logps.shape))


def state_logps(logps: jax.Array, responses: Responses) -> np.ndarray:
    """Log-probability that a response begins with each prefix.

    Args:
      logps: `[..., S]`, of the responses.
      responses: The same S.

    Returns:
      `[..., P]`.
    """
    return np.logaddexp.reduce(logits_of(logps, responses), axis=-1)


def logits_of(logps: jax.Array, responses: Responses) -> np.ndarray:
    """Logits of the policy that has these log-probabilities: the table is complete.

    The logit of token v after prefix s is the log of the mass of all responses that
    begin with both.

    Args:
      logps: `[..., S]`, finite.
      responses: The same S.

    Returns:
      `[..., P, V]`; `response_logps` gives `logps` back.
    """
    terms = np.asarray(logps)
    lead = terms.shape[:-1]
    logits = np.full((*lead, responses.num_prefixes, responses.vocab_size), -np.inf)
    for s, mask in enumerate(responses.mask):
        at = (..., responses.prefix[s, mask], responses.token[s, mask])
        logits[at] = np.logaddexp(logits[at], terms[..., s, None])
    return logits


def sample(key: jax.Array, logps: jax.Array, num_samples: int) -> jax.Array:
    """Draws responses: `[X, S]` log-probabilities give `[X, num_samples]` indices."""
    shape = (num_samples, len(logps))
    return jax.random.categorical(key, logps, shape=shape).T
