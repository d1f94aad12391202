"""Links: what a pair costs, from the margin by which its chosen response is ahead.

A link is an elementwise function of margins. Label noise turns a link into another one:
`smoothed` is what it costs on average where labels are flipped, `debiased` undoes that.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxalign.losses.base import is_zero

Link = Callable[[jax.Array], jax.Array]


def pairwise_logistic(margin: jax.Array) -> jax.Array:
    """−log σ(m): the Bradley–Terry likelihood, as in DPO.

    Eq. 7 of https://arxiv.org/abs/2305.18290.

    Args:
      margin: m, by how much the chosen response is preferred, any shape, float.

    Returns:
      The same shape.

    >>> print(pairwise_logistic(jnp.zeros(2)))
    [0.6931472 0.6931472]
    """
    return -jax.nn.log_sigmoid(margin)


def pairwise_hinge(margin: jax.Array) -> jax.Array:
    """max(0, 1 − m): nothing more to gain beyond a margin of 1; at it the slope is 0.

    As in SLiC and RSO, https://arxiv.org/abs/2309.06657.

    Args:
      margin: m, any shape, float.

    Returns:
      The same shape.

    >>> print(pairwise_hinge(jnp.array([0.0, 0.5, 3.0])))
    [1.  0.5 0. ]
    """
    return jax.nn.relu(1 - margin)


def pairwise_square(margin: jax.Array, *, target: float | jax.Array = 1.0) -> jax.Array:
    """(m − t)²: a margin to reach and not to pass, as in IPO.

    Eq. 17 of https://arxiv.org/abs/2310.12036, where t = 1/(2τ) and m is the plain D.

    Args:
      margin: m, any shape, float.
      target: t.

    Returns:
      The same shape.

    >>> print(pairwise_square(jnp.array([0.0, 1.0, 3.0])))
    [1. 0. 4.]
    """
    return jnp.square(margin - target)


def pairwise_sigmoid(margin: jax.Array) -> jax.Array:
    """1 − σ(m): a bounded loss, so that pairs ranked far wrongly are given up.

    As in APO, Eq. 8 of https://arxiv.org/abs/2408.06266.

    Args:
      margin: m, any shape, float.

    Returns:
      The same shape.

    >>> print(pairwise_sigmoid(jnp.zeros(1)))
    [0.5]
    """
    return jax.nn.sigmoid(-margin)


def smoothed(link: Link, margin: jax.Array, flip: float | jax.Array) -> jax.Array:
    """(1 − ε) ℓ(m) + ε ℓ(−m): what a link costs if labels are wrong at a rate of ε.

    With the logistic link Eq. 3 of https://ericmitchell.ai/cdpo.pdf.

    Args:
      link: ℓ, elementwise.
      margin: m, any shape, float.
      flip: ε in [0, 0.5), the probability that a label is the wrong way round.

    Returns:
      The same shape.

    >>> print(smoothed(pairwise_hinge, jnp.array([1.0]), 0.25))
    [0.5]
    """
    if is_zero(flip):
        return link(margin)
    return (1 - flip) * link(margin) + flip * link(-margin)


def debiased(link: Link, margin: jax.Array, flip: float | jax.Array) -> jax.Array:
    """[(1 − ε) ℓ(m) − ε ℓ(−m)]/(1 − 2ε): on flipped labels it is ℓ itself on average.

    With the logistic link the loss of https://arxiv.org/abs/2403.00409. The price of no
    bias: where ℓ is unbounded above, this is unbounded below.

    Args:
      link: ℓ, elementwise.
      margin: m, any shape, float.
      flip: ε in [0, 0.5), the probability that a label is the wrong way round.

    Returns:
      The same shape.

    >>> print(debiased(pairwise_hinge, jnp.array([1.0]), 0.25))
    [-1.]
    """
    if is_zero(flip):
        return link(margin)
    return ((1 - flip) * link(margin) - flip * link(-margin)) / (1 - 2 * flip)
