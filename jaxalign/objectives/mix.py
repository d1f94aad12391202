"""Two objectives on two streams, each with the denominator of its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxalign.batch import Batch
from jaxalign.losses import LossOutput
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
    main: Callable[..., LossOutput],
    mix: Callable[..., LossOutput],
    *,
    coef: float,
    name: str = "mix",
    select: Callable[[Any], Any] = lambda params: params,
):
    """`main` plus `coef` times `mix`, each the mean over what it counts itself.

    With `mix` the log-likelihood of pretraining text this is PPO-ptx (Eq. 2 of
    https://arxiv.org/abs/2203.02155, where the coefficient is 27.8); with
    demonstrations it is reinforcement learning with a supervised term.

    Args:
      main: Any objective.
      mix: Any objective.
      coef: Weight of the second term, 0 or more.
      name: Its loss is the metric `loss/{name}`.
      select: From the parameters to those that `mix` reads.

    Returns:
      An objective on `MixedBatch`, whose loss is a `SumOfMeans`; the metrics are those
      of `main` and `loss/{name}`.
    """

    def objective(params, batch: MixedBatch, key) -> LossOutput:
        out = main(params, batch.main, key)
        other = mix(select(params), batch.mix, key).loss
        loss = sum_of_means((1.0, out.loss), (coef, other))
        return LossOutput(loss, {**out.metrics, f"loss/{name}": other})

    return objective
