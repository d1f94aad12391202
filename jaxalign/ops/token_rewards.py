"""Rewards of tokens from scores of responses: where they go, and what is taken off."""

import chex
import jax
import jax.numpy as jnp

from jaxalign.ops.kl import kl_k1
from jaxalign.ops.reduce import masked


def token_rewards(
    scores: jax.Array,
    logps: jax.Array,
    ref_logps: jax.Array,
    mask: jax.Array,
    *,
    kl_coef: float = 0.05,
) -> jax.Array:
    """The score at the last token of the response, and a KL penalty at each.

        r_t = −β (log π_old(y_t) − log π_ref(y_t)) + [t is last] score

    Sec. 2.2 of Ziegler et al., https://arxiv.org/abs/1909.08593. The last token is the
    last unmasked one: the stop token if the response has one, never padding after it.

    Args:
      scores: `[...]`, one for each response, float.
      logps: Of the tokens when they were sampled, `[..., T]`, float.
      ref_logps: Of the same tokens under the reference, `[..., T]`, float.
      mask: The tokens of the response, `[..., T]`, bool.
      kl_coef: β ≥ 0.

    Returns:
      `[..., T]`, 0 where masked, without a gradient.

    >>> logps, mask = jnp.array([[-1.0, -1.0, 0.0]]), jnp.array([[True, True, False]])
    >>> print(token_rewards(jnp.array([2.0]), logps, 3 * logps, mask, kl_coef=0.25))
    [[-0.5  1.5  0. ]]
    """
    penalty = -kl_coef * kl_k1(logps, ref_logps, mask)
    return jax.lax.stop_gradient(at_last_token(scores, mask) + penalty)


def at_last_token(scores: jax.Array, mask: jax.Array) -> jax.Array:
    """Each response's score at its last unmasked token, and 0 elsewhere.

    Args:
      scores: `[...]`, float.
      mask: The tokens of the response, `[..., T]`, bool.

    Returns:
      `[..., T]`; nothing of a response without tokens.

    >>> print(at_last_token(jnp.array([2.0]), jnp.array([[True, True, False]])))
    [[0. 2. 0.]]
    """
    chex.assert_shape(scores, mask.shape[:-1])
    after = jnp.flip(jnp.cumsum(jnp.flip(mask, axis=-1), axis=-1), axis=-1)
    return masked(jnp.broadcast_to(scores[..., None], mask.shape), mask & (after == 1))


def missing_eos_score(
    scores: jax.Array, stopped: jax.Array, *, score: float = -1.0
) -> jax.Array:
    """The scores, with another one for responses that did not stop by themselves.

    Args:
      scores: `[...]`, float.
      stopped: Whether it ended in any of the run's stop tokens, `[...]`, bool.
      score: What a response without a stop token gets.

    Returns:
      `[...]`.

    >>> print(missing_eos_score(jnp.array([2.0, 3.0]), jnp.array([True, False])))
    [ 2. -1.]
    """
    chex.assert_equal_shape([scores, stopped])
    chex.assert_type([scores, stopped], [float, bool])
    return jnp.where(stopped, scores, score)


def missing_eos_penalty(
    scores: jax.Array, stopped: jax.Array, *, penalty: float = 1.0
) -> jax.Array:
    """The scores, less a penalty for responses that did not stop by themselves.

    Args:
      scores: `[...]`, float.
      stopped: Whether it ended in any of the run's stop tokens, `[...]`, bool.
      penalty: What is taken off, ≥ 0.

    Returns:
      `[...]`.

    >>> print(missing_eos_penalty(jnp.array([2.0, 3.0]), jnp.array([True, False])))
    [2. 2.]
    """
    chex.assert_equal_shape([scores, stopped])
    chex.assert_type([scores, stopped], [float, bool])
    return jnp.where(stopped, scores, scores - penalty)


def overlong_penalty(
    lengths: jax.Array, *, max_length: float = 20480, buffer: float = 4096
) -> jax.Array:
    """What a response loses for its length: nothing, then in proportion, then 1.

        0 if |y| ≤ L − L_c;  (L − L_c − |y|)/L_c up to L;  −1 beyond

    Eq. 13 of DAPO, https://arxiv.org/abs/2503.14476.

    Args:
      lengths: |y| in tokens, `[...]`, integer.
      max_length: L, the length that is punished in full.
      buffer: L_c > 0, how many tokens before that it begins.

    Returns:
      `[...]`, float32, in [−1, 0]: add it to the scores.

    >>> print(overlong_penalty(jnp.array([5, 7, 11]), max_length=10, buffer=4))
    [ 0.   -0.25 -1.  ]
    """
    chex.assert_type(lengths, int)
    free = max_length - buffer
    return jnp.clip((free - lengths.astype(jnp.float32)) / buffer, -1.0, 0.0)
