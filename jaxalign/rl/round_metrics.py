"""What is logged of all that an iteration sampled, also of what was left out."""

import functools
from collections.abc import Sequence

import jax
import numpy as np

from jaxalign.ops import Mean
from jaxalign.rl.centring import centred
from jaxalign.rl.metrics import group_metrics
from jaxalign.rl.rollout import Rollout


def reward_metrics(rounds: Sequence[Rollout]) -> dict[str, Mean]:
    """`rewards/{name}/{mean,std,failed}` over every completion that was sampled.

    `failed` counts those on which the reward failed, and which got its fallback.
    """
    metrics = {}
    for name in rounds[0].scores.values:
        values = np.concatenate([x.scores.values[name] for x in rounds])
        # NaN: the reward did not apply to that completion.
        values = values[~np.isnan(values)]
        n = np.float64(len(values))
        std = values.std() if len(values) else 0.0
        metrics[f"rewards/{name}/mean"] = Mean(values.sum(), n)  # pyright: ignore[reportArgumentType]
        # A deviation is no sum: weighed by its completions, it is averaged over logs.
        metrics[f"rewards/{name}/std"] = Mean(std * n, n)  # pyright: ignore[reportArgumentType]
        failed = np.float64(sum(x.scores.failed[name] for x in rounds))
        metrics[f"rewards/{name}/failed"] = Mean(failed, np.float64(1))  # pyright: ignore[reportArgumentType]
    return metrics


def sampled_metrics(rounds: Sequence[Rollout]) -> dict[str, Mean]:
    """`group_metrics` of every group that was sampled, also of those left out.

    Where there is one completion of each prompt, the whole batch is the group.
    """
    parts = []
    for part in rounds:
        groups, k = part.groups
        shape = (groups, k) if k > 1 else (1, groups)
        totals, applies = part.scores.total.reshape(shape), part.scores.applies
        # In float32 large equal rewards and nearly equal ones would be one number.
        rewards = centred(totals, applies.reshape(shape)).rewards
        found = _group_metrics(rewards.astype(np.float32), applies.reshape(shape))
        # The mean of rewards as they are, not of the centred ones.
        total = np.sum(part.scores.total, where=applies, dtype=np.float64)
        mean = Mean(total, np.float64(applies.sum()))  # pyright: ignore[reportArgumentType]
        parts.append(found | {"reward": mean})
    return {k: functools.reduce(Mean.__add__, [x[k] for x in parts]) for k in parts[0]}


_group_metrics = jax.jit(group_metrics)
