"""Means over pairs and over labelled responses, with the metrics of all such losses.

A preference loss is four lines: `sum_pairs` sums the responses, each gets a reward, a
link says what the difference of the two rewards costs, and `pair_output` is the mean.
"""

import jax
import jax.numpy as jnp  # noqa: F401, the examples use it

from jaxalign.losses.base import LossOutput, Pair
from jaxalign.losses.responses import Pairs, Responses, sum_pairs  # noqa: F401
from jaxalign.ops import Mean, check_arrays


def pair_metrics(
    pairs: Pairs, rewards: Pair[jax.Array], **metrics: jax.Array
) -> dict[str, Mean]:
    """The metrics of every pairwise loss, over valid pairs.

    Args:
      pairs: Where the losses come from.
      rewards: What the loss takes for the reward of each response, both `[...]`.
      **metrics: Further values of each pair, `[...]`.
    """
    margins = rewards.chosen - rewards.rejected
    per_pair = {
        "rewards/chosen": rewards.chosen,
        "rewards/rejected": rewards.rejected,
        "rewards/margins": margins,
        "rewards/accuracies": margins > 0,
        "logps/chosen": pairs.chosen.logps,
        "logps/rejected": pairs.rejected.logps,
        **metrics,
    }
    return {name: Mean.of(x, where=pairs.valid) for name, x in per_pair.items()}


def pair_output(
    losses: jax.Array, pairs: Pairs, rewards: Pair[jax.Array], **metrics: jax.Array
) -> LossOutput:
    """The mean of what pairs cost over those that are valid, with the usual metrics.

    Args:
      losses: What each pair costs, `[...]`.
      pairs: Where the losses come from.
      rewards: What the loss takes for the reward of each response, both `[...]`.
      **metrics: Further values of each pair, `[...]`.

    Returns:
      The mean over pairs, and the metrics `rewards/chosen`, `rewards/rejected`,
      `rewards/margins`, `rewards/accuracies`, `logps/chosen`, `logps/rejected`.

    >>> lp, mask = jnp.array([[-1.0]]), jnp.ones((1, 1), bool)
    >>> pairs = sum_pairs(Pair(lp, lp), Pair(mask, mask), Pair(lp - 3, lp))
    >>> print(pair_output(-pairs.margins, pairs, pairs.rewards(0.1)).loss.value)
    -3.0
    """
    check_arrays(losses=(losses, "float[...]"), pairs=(pairs.valid, "bool[...]"))
    loss = Mean.of(losses, where=pairs.valid)
    return LossOutput(loss, pair_metrics(pairs, rewards, **metrics))


def labelled_output(
    losses: jax.Array,
    responses: Responses,
    rewards: jax.Array,
    desirable: jax.Array,
    **metrics: Mean,
) -> LossOutput:
    """The mean over valid responses that have a label each in place of a rival.

    Args:
      losses: What each response costs, `[...]`.
      responses: Where the losses come from.
      rewards: The implicit reward of each, `[...]`.
      desirable: `[...]` bool; those are logged as chosen, the others as rejected.
      **metrics: Further means.

    Returns:
      The mean over responses, and the metrics `rewards/chosen`, `logps/chosen` of the
      desirable ones, `rewards/rejected`, `logps/rejected` of the others.
    """
    sides = {
        "chosen": responses.valid & desirable,
        "rejected": responses.valid & ~desirable,
    }
    values = {"rewards": rewards, "logps": responses.logps}
    means = {
        f"{name}/{side}": Mean.of(x, where=where)
        for name, x in values.items()
        for side, where in sides.items()
    }
    return LossOutput(Mean.of(losses, where=responses.valid), {**means, **metrics})
