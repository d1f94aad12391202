"""Two objectives on two streams, each with the denominator of its own."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxalign.batch import Batch
from jaxalign.errors import UserError
from jaxalign.losses import LossOutput, Objective
from jaxalign.ops import sum_of_means


class MixedBatch(NamedTuple):
    """A batch, and rows of another stream that are trained along with it.

    Attributes:
      main: What the first objective reads.
      mix: The rows of the other stream.
    """

    main: Batch
    mix: Batch


def mixed_objective(
    main: Objective | Callable[..., LossOutput],
    mix: Objective | Callable[..., LossOutput],
    *,
    coef: float,
    name: str = "mix",
    select: Callable[[Any], Any] = lambda params: params,
) -> Objective:
    """`main` plus `coef` times `mix`, each the mean over what it counts itself.

    With `mix` the log-likelihood of pretraining text this is PPO-ptx (Eq. 2 of
    https://arxiv.org/abs/2203.02155, where the coefficient is 27.8); with
    demonstrations it is reinforcement learning with a supervised term.

    Args:
      main: Any objective.
      mix: An objective that needs its own rows alone.
      coef: Weight of the second term, 0 or more.
      name: Its loss is the metric `loss/{name}`.
      select: From the parameters to those that `mix` reads.

    Returns:
      An objective on `MixedBatch`, whose loss is a `SumOfMeans`; it measures and
      carries what `main` does, and the metrics are those of `main` and `loss/{name}`.

    Raises:
      UserError: If `mix` measures the whole batch or has a carry.
    """
    one, two = Objective.of(main), Objective.of(mix)
    if two.measure is not None or jax.tree.leaves(two.carry):
        raise UserError(
            "the second objective of a mix must be a function of its rows alone: this "
            "one measures whole batches or remembers them, as kto_objective and "
            "bind(bco_loss, ...) do. Make it the first of the two."
        )

    def loss(params, batch: MixedBatch, key, measured, carry) -> LossOutput:
        out = one.loss(params, batch.main, key, measured, carry)
        other = two(select(params), batch.mix, key).loss
        total = sum_of_means((1.0, out.loss), (coef, other))
        return LossOutput(total, {**out.metrics, f"loss/{name}": other})

    coupled = one.batch_coupled or two.batch_coupled
    both = dataclasses.replace(one, loss=loss, batch_coupled=coupled)
    if one.measure is None:
        return both
    measure = one.measure

    def of_main(params, batch: MixedBatch, key):
        return measure(params, batch.main, key)

    return dataclasses.replace(both, measure=of_main)
