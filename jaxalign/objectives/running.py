"""What a loss reads of the batches before: BCO's shift and β-DPO's usual margin."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxalign.errors import explained
from jaxalign.losses import LossOutput, Pair, TwoPass
from jaxalign.objectives.signatures import array_names
from jaxalign.ops import Mean, moving_baseline

MARGIN_DECAY = 0.9
"""Of β-DPO's M₀, as in its authors' code."""

Given = Callable[[Any, Any, Mapping[str, jax.Array]], LossOutput]
"""`(params, batch, arguments) -> LossOutput`: a loss but for those of `RUNNING`."""


class Rule(NamedTuple):
    """How arguments of a loss follow from the rewards of all batches.

    The rewards of a batch are the metrics `rewards/chosen` and `rewards/rejected`.

    Attributes:
      memory: That of a new run.
      remember: `(memory, rewards) -> memory`.
      read: `(memory, rewards) ->` the arguments by name.
    """

    memory: Any
    remember: Callable[[Any, Pair[Mean]], Any]
    read: Callable[[Any, Pair[Mean]], dict[str, jax.Array]]


def _margins(rewards: Pair[Mean]) -> Mean:
    total = rewards.chosen.total - rewards.rejected.total
    return Mean(total, rewards.chosen.weight)


ZERO: Any = np.zeros((), np.float32)
SHIFT = Rule(
    memory=Mean(ZERO, ZERO),
    remember=lambda memory, rewards: memory + rewards.chosen + rewards.rejected,
    read=lambda memory, rewards: {"delta": memory.value},
)
"""δ is the mean of the rewards of both sides over all batches so far."""
MARGIN = Rule(
    memory=ZERO,
    remember=lambda memory, rewards: moving_baseline(
        memory, _margins(rewards), decay=MARGIN_DECAY
    ),
    read=lambda memory, rewards: {
        "mean_margin": _margins(rewards).value,
        "usual_margin": memory,
    },
)
"""M is the mean margin of this batch, M₀ a moving average of M that begins at 0."""
RUNNING = {"delta": SHIFT, "mean_margin": MARGIN, "usual_margin": MARGIN}
"""The rules by the arguments of losses that they give."""


def running_of(loss_fn: Callable[..., LossOutput]) -> Rule | None:
    """The rule of a loss that reads the batches before; None for others.

    >>> from jaxalign.losses import bco_loss, dpo_loss
    >>> running_of(bco_loss) is SHIFT
    True
    >>> running_of(dpo_loss)
    """
    found = (RUNNING[name] for name in array_names(loss_fn) if name in RUNNING)
    return next(found, None)


def as_objective(loss_fn: Callable[..., LossOutput], given: Given) -> Any:
    """A loss as an objective, with a memory if it reads the batches before.

    Args:
      loss_fn: The loss.
      given: The same, but for those of its arguments that are in `RUNNING`.

    Returns:
      `(params, batch, key) -> LossOutput`; or a `TwoPass`, which measures the rewards
      of the global batch and remembers them.
    """
    rule = running_of(loss_fn)
    if rule is not None:
        return _with_memory(given, rule)

    @explained()
    def objective(params, batch, key) -> LossOutput:
        del key
        return given(params, batch, {})

    return objective


def _with_memory(given: Given, rule: Rule) -> TwoPass:
    nothing = Mean(ZERO, ZERO)

    def measure(params, batch, key) -> Pair[Mean]:
        del key
        # The rewards do not depend on the arguments that are still unknown.
        unknown = rule.read(rule.memory, Pair(nothing, nothing))
        metrics = given(params, batch, unknown).metrics
        return Pair(metrics["rewards/chosen"], metrics["rewards/rejected"])

    def loss(params, batch, key, measured, memory) -> LossOutput:
        del key
        return given(params, batch, rule.read(memory, measured))

    return TwoPass(measure, loss, rule.memory, rule.remember)
