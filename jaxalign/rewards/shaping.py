"""From scores of responses to rewards of tokens, as arrays."""

import jax
import jax.numpy as jnp

from jaxalign.ops import check_arrays, masked, sum_dtype


def token_rewards(
    scores: jax.Array,
    logps: jax.Array,
    ref_logps: jax.Array,
    mask: jax.Array,
    *,
    kl_coef: float | jax.Array = 0.05,
) -> jax.Array:
    """The reward of each token: its part of the KL term, and the score at the end.

    R_t = −β (log π_old(y_t) − log π_ref(y_t)) + [t is the last response token] · score:
    the penalised reward of Ziegler et al. (https://arxiv.org/abs/1909.08593, Eq. 2)
    with the log-ratio, the unbiased estimator k1, token by token. The score stands at
    the last token of the response itself (the stop token, if there is one), not one
    behind it. Summed over a response this is score − β log(π_old/π_ref). A response
    without an unmasked token gets nothing.

    Args:
      scores: `[...]`, one per response, float.
      logps: `[..., T]`, token log-probabilities under the sampling policy.
      ref_logps: `[..., T]`, the same tokens under the reference.
      mask: `[..., T]` bool, True on response tokens.
      kl_coef: β ≥ 0, a float or a traced scalar.

    Returns:
      `[..., T]` rewards, 0 where masked, without a gradient.

    >>> logps, ref = jnp.array([[-1.0, -1.0, 9.0]]), jnp.array([[-1.0, -3.0, 0.0]])
    >>> mask = jnp.array([[True, True, False]])
    >>> print(token_rewards(jnp.array([1.0]), logps, ref, mask, kl_coef=0.25))
    [[0. 0.5 0. ]]
    """
    check_arrays(
        scores=(scores, "float[...]"),
        logps=(logps, "float[+, T]"),
        ref_logps=(ref_logps, "float[+, T]"),
        mask=(mask, "bool[+, T]"),
    )
    tokens_left = jnp.cumsum(mask[..., ::-1], axis=-1)[..., ::-1]
    # Counted from the end: a mask may have gaps, and padding on either side.
    last = mask & (tokens_left == 1)
    score = jnp.where(last, scores.astype(sum_dtype(scores))[..., None], 0.0)
    log_ratio = masked(logps, mask) - masked(ref_logps, mask)
    return jax.lax.stop_gradient(score - kl_coef * log_ratio)


def missing_eos_score(
    scores: jax.Array, stopped: jax.Array, *, score: float | jax.Array = -1.0
) -> jax.Array:
    """Responses that no stop token ended get `score` in place of their own.

    The "EOS trick" of Huang et al. (https://arxiv.org/abs/2403.17031), with its value
    −1: what a reward model says of half an answer means nothing.

    Args:
      scores: `[...]`, one per response, float.
      stopped: `[...]` bool, whether any of the run's stop tokens ended it.
      score: What the others get.

    Returns:
      `[...]` scores.

    >>> print(missing_eos_score(jnp.array([2.0, 2.0]), jnp.array([True, False])))
    [ 2. -1.]
    """
    _check_stopped(scores, stopped)
    return jnp.where(stopped, scores, score)


def missing_eos_penalty(
    scores: jax.Array, stopped: jax.Array, *, penalty: float | jax.Array = 1.0
) -> jax.Array:
    """Responses that no stop token ended lose `penalty`.

    Args:
      scores: `[...]`, one per response, float.
      stopped: `[...]` bool, whether any of the run's stop tokens ended it.
      penalty: p ≥ 0, what the others lose.

    Returns:
      `[...]` scores.

    >>> print(missing_eos_penalty(jnp.array([2.0, 2.0]), jnp.array([True, False])))
    [2. 1.]
    """
    _check_stopped(scores, stopped)
    return jnp.where(stopped, scores, scores - penalty)


def informative_groups(rewards: jax.Array, mask: jax.Array) -> jax.Array:
    """Which groups can teach anything: those whose rewards are not all equal.

    The filter of dynamic sampling, Eq. 11 of Yu et al. (DAPO,
    https://arxiv.org/abs/2503.14476): equal rewards give advantages of 0. A group with
    fewer than two members is not informative.

    Args:
      rewards: `[..., K]`, the rewards of K answers to each prompt, float.
      mask: `[..., K]` bool, False on members that do not count; they may hold NaN.

    Returns:
      `[...]` bool.

    >>> rewards, mask = jnp.array([[1.0, 0.0], [1.0, 1.0]]), jnp.ones((2, 2), bool)
    >>> print(informative_groups(rewards, mask))
    [ True False]
    """
    check_arrays(rewards=(rewards, "float[..., K]"), mask=(mask, "bool[..., K]"))
    highest = jnp.max(jnp.where(mask, rewards, -jnp.inf), axis=-1)
    lowest = jnp.min(jnp.where(mask, rewards, jnp.inf), axis=-1)
    return highest > lowest


def _check_stopped(scores: jax.Array, stopped: jax.Array) -> None:
    check_arrays(scores=(scores, "float[...]"), stopped=(stopped, "bool[...]"))
