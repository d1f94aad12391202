"""Which tokens may come next, and at what scores: all that is not the model's own.

The log-probabilities that a rollout keeps are the model's, under its whole vocabulary:
nothing here changes them. What is ruled out for lack of a token has next to no
probability in a trained model; where it has some, m, tokens are drawn from p / (1 - m)
while the trainer learns from log p, whose gradient also lowers m.
"""

from typing import Any

import jax
import jax.numpy as jnp

Ranges = tuple[tuple[int, int], ...]
"""Ids from the first number of a pair up to the second, which is not among them."""


def allowed_logits(
    logits: jax.Array,
    *,
    unused: Ranges = (),
    never: jax.Array | None = None,
    not_yet: jax.Array | None = None,
    min_p: Any = None,
) -> jax.Array:
    """The logits of tokens that may be chosen, -inf for the others.

    Args:
      logits: `[B, V]` float32, divided by the temperature.
      unused: Ids that stand for no token; static.
      never: `[v]` bool with v <= V, or None: tokens that are never chosen.
      not_yet: `[B, V]` bool, or None: those that are not chosen now.
      min_p: None, or a share in (0, 1] of the likeliest token's probability, below
        which no token is chosen (https://arxiv.org/abs/2407.01082). It comes before
        top-k and top-p.

    Returns:
      `[B, V]` float32.

    >>> logits = jnp.log(jnp.array([[0.5, 0.05, 0.15, 0.3]]))
    >>> [bool(x > -9) for x in allowed_logits(logits, unused=((3, 4),), min_p=0.2)[0]]
    [True, False, True, False]
    """
    if unused:
        ids = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 1)
        for first, end in unused:
            logits = jnp.where((ids >= first) & (ids < end), -jnp.inf, logits)
    if never is not None:
        logits = jnp.where(_as_wide(never[None], logits), -jnp.inf, logits)
    if not_yet is not None:
        logits = jnp.where(not_yet, -jnp.inf, logits)
    if min_p is not None:
        # A share of the likeliest token's probability is a distance between logits.
        least = jnp.max(logits, axis=-1, keepdims=True) + jnp.log(min_p)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return logits


def penalised(logits: jax.Array, seen: jax.Array, penalty: Any) -> jax.Array:
    """Lower logits for tokens that came already (https://arxiv.org/abs/1909.05858).

    Logits above 0 are divided by the penalty, and those below multiplied with it, which
    the paper leaves open and everybody does.

    Args:
      logits: `[B, V]` float32.
      seen: `[B, v]` bool with v <= V: which tokens stand in the prompt or completion.
      penalty: Above 0; 1 changes nothing.

    Returns:
      `[B, V]` float32.
    """
    lower = jnp.where(logits > 0, logits / penalty, logits * penalty)
    return jnp.where(_as_wide(seen, logits), lower, logits)


def with_new_tokens(seen: jax.Array, tokens: jax.Array, count: jax.Array) -> jax.Array:
    """`[B, v]` seen tokens with the first `count` of `[B, n]` new ones."""
    new = jax.lax.broadcasted_iota(jnp.int32, tokens.shape, 1) < count
    rows = jax.lax.broadcasted_iota(jnp.int32, tokens.shape, 0)
    # What is not new goes out of range, and is dropped there.
    ids = jnp.where(new, tokens, seen.shape[1])
    return seen.at[rows, ids].set(True, mode="drop")


def _as_wide(mask: jax.Array, logits: jax.Array) -> jax.Array:
    """Filled up with False: logits may have columns of padding."""
    return jnp.pad(mask, ((0, 0), (0, logits.shape[1] - mask.shape[1])))
