"""The mean metrics of an evaluation step over held-out batches."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from jaxalign.ops import Mean
from jaxalign.training import chaos
from jaxalign.training.stopping.preemption import StopRequest

Evaluate = Callable[[Any], dict[str, float] | None]
"""`state -> metrics`, or None if it was interrupted by a request to stop."""


def make_evaluate(
    eval_step: Callable[..., Mapping[str, Mean]],
    batches: Callable[[], Iterable[Any]],
    *,
    place: Callable[[Any], Any],
    key: jax.Array,
    stop: StopRequest,
) -> Evaluate:
    """Builds `state -> metrics` from an evaluation step, jitted by the caller.

    The means are over all batches at once, and nothing is read back before the last
    batch was dispatched.

    Args:
      eval_step: From `make_eval_step`.
      batches: Makes a new iterator over the held-out batches.
      place: From a host batch to what `eval_step` takes.
      key: Batch n is given `fold_in(key, n)`, the same in every evaluation.
      stop: Looked at between batches.

    Returns:
      `TrainState -> metrics`; None in place of metrics when it was stopped.
    """

    def evaluate(state):
        sums: dict[str, Mean] = {}
        for n, batch in enumerate(batches()):
            chaos.at("eval")
            if stop.requested:
                return None
            noise = jax.random.fold_in(key, n)
            means = eval_step(state.params, place(batch), noise, state.carry)
            # Summed on the device: to read a number here would wait for each batch.
            sums = {name: sums[name] + m if sums else m for name, m in means.items()}
        return {name: float(mean.value) for name, mean in sums.items()}

    return evaluate
