"""What a loss reads of the batches before: BCO's shift and β-DPO's usual margin."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxalign.errors import explained
from jaxalign.losses import LossOutput, Objective, Pair, is_batch_coupled
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
      carry: That of a new run.
      update_carry: `(carry, rewards) -> carry`.
      read: `(carry, rewards) ->` the arguments by name.
    """

    carry: Any
    update_carry: Callable[[Any, Pair[Mean]], Any]
    read: Callable[[Any, Pair[Mean]], dict[str, jax.Array]]


def _margins(rewards: Pair[Mean]) -> Mean:
    total = rewards.chosen.total - rewards.rejected.total
    return Mean(total, rewards.chosen.weight)


ZERO: Any = np.zeros((), np.float32)
SHIFT = Rule(
    carry=Mean(ZERO, ZERO),
    update_carry=lambda carry, rewards: carry + rewards.chosen + rewards.rejected,
    read=lambda carry, rewards: {"delta": carry.value},
)
"""δ is the mean of the rewards of both sides over all batches so far."""
MARGIN = Rule(
    carry=ZERO,
    update_carry=lambda carry, rewards: moving_baseline(
        carry, _margins(rewards), decay=MARGIN_DECAY
    ),
    read=lambda carry, rewards: {
        "mean_margin": _margins(rewards).value,
        "usual_margin": carry,
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


def as_objective(loss_fn: Callable[..., LossOutput], given: Given) -> Objective:
    """A loss as an objective, with a carry if it reads the batches before.

    Args:
      loss_fn: The loss.
      given: The same, but for those of its arguments that are in `RUNNING`.

    Returns:
      An objective that, for a loss with a rule, measures the rewards of the global
      batch and carries them along.
    """
    rule, reads = running_of(loss_fn), frozenset(array_names(loss_fn))
    coupled = is_batch_coupled(loss_fn)
    if rule is not None:
        remembering = _with_carry(given, rule)
        return dataclasses.replace(remembering, reads=reads, batch_coupled=coupled)

    @explained()
    def loss(params, batch, key, measured, carry) -> LossOutput:
        del key, measured, carry
        return given(params, batch, {})

    return Objective(loss, reads=reads, batch_coupled=coupled)


def _with_carry(given: Given, rule: Rule) -> Objective:
    nothing = Mean(ZERO, ZERO)

    def measure(params, batch, key) -> Pair[Mean]:
        del key
        # The rewards do not depend on the arguments that are still unknown.
        unknown = rule.read(rule.carry, Pair(nothing, nothing))
        metrics = given(params, batch, unknown).metrics
        return Pair(metrics["rewards/chosen"], metrics["rewards/rejected"])

    @explained()
    def loss(params, batch, key, measured, carry) -> LossOutput:
        del key
        return given(params, batch, rule.read(carry, measured))

    return Objective(loss, measure, rule.carry, rule.update_carry)
