"""Two objectives on two streams, each with the denominator of its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxalign.batch import Batch
from jaxalign.losses import LossOutput, join_terms
from jaxalign.ops import Mean, sum_dtype


class MixedBatch(NamedTuple):
    """A batch, and rows of another stream that are trained along with it.

    Attributes:
      main: What the first objective reads.
      mix: The rows of the other stream.
      scale: `[R']`, for every row of `mix` the same number: the weight of the global
        main batch over that of the global `mix`, as `mix_scale` gives it.
    """

    main: Batch
    mix: Batch
    scale: jax.Array


def mix_scale(main_weight: jax.Array, mix_mask: jax.Array) -> jax.Array:
    """The factor that turns the sum over `mix` into its mean, times `main_weight`.

    Args:
      main_weight: Scalar, the weight of the main loss over the whole global batch:
        its trained tokens for a token mean, its answers for a mean over answers.
      mix_mask: `[R', M]` bool, the trained tokens of all rows of the other stream.

    Returns:
      `[R']` for `MixedBatch.scale`.

    >>> print(mix_scale(jnp.array(6.0), jnp.array([[True, True], [True, False]])))
    [2. 2.]
    """
    tokens = jnp.maximum(jnp.sum(mix_mask, dtype=main_weight.dtype), 1)
    return jnp.full(mix_mask.shape[:1], main_weight / tokens)


def mixed_objective(
    main: Callable[..., LossOutput],
    mix: Callable[..., LossOutput],
    *,
    coef: float,
    name: str = "mix",
    select: Callable[[Any], Any] = lambda params: params,
):
    """`main` plus `coef` times the token mean of `mix`, whatever the two weights are.

    With `mix` the log-likelihood of pretraining text this is PPO-ptx (Eq. 2 of
    https://arxiv.org/abs/2203.02155, where the coefficient is 27.8); with
    demonstrations it is reinforcement learning with a supervised term.

    Args:
      main: Any objective.
      mix: An objective whose weight is its number of trained tokens.
      coef: Weight of the second term, 0 or more.
      name: Its loss is the metric `loss/{name}`.
      select: From the parameters to those that `mix` reads.

    Returns:
      An objective on `MixedBatch`, with the metrics of `main` and `loss/{name}`.
    """

    def objective(params, batch: MixedBatch, key) -> LossOutput:
        out = main(params, batch.main, key)
        other = mix(select(params), batch.mix, key).loss
        scale = jnp.mean(batch.scale.astype(sum_dtype(batch.scale)))
        weighted = Mean(coef * other.total, other.weight)
        term = LossOutput(weighted, {f"loss/{name}": other})
        return join_terms(out, term, weights=(scale, jnp.ones_like(scale)))

    return objective
