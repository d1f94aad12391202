"""How a policy does on held-out prompts: sampled answers and what rewards say."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxalign.recipes.rl.sampling import Sampler
from jaxalign.training import Clock, StopRequest, chaos
from jaxalign.training.evaluate import Evaluate


def make_reward_evaluation(
    sampler: Sampler,
    policy: Callable[[Any], Any],
    *,
    batch_size: int,
    key: jax.Array,
    stop: StopRequest,
) -> Evaluate | None:
    """Mean rewards and lengths of answers to the sampler's prompts; None without any.

    The same noise serves every evaluation, so that what differs is the policy. A reward
    that applies to none of the answers is left out.

    Args:
      sampler: With the held-out prompts.
      policy: From parameters as trained to the policy's.
      batch_size: Prompts at a time; the last are filled up with some of the first.
      key: Of the samples.
      stop: Looked at between two batches.
    """
    size = len(sampler.prompts)
    if not size:
        return None

    def evaluate(state) -> dict[str, float] | None:
        own = policy(state.params)
        parts, counts = [], []
        for start in range(0, size, batch_size):
            chaos.at("eval")
            if stop.requested:
                return None
            numbers = [i % size for i in range(start, start + batch_size)]
            noise = jax.random.fold_in(key, start)
            part, _ = sampler(own, int(state.step) - 1, numbers, noise, Clock())
            parts.append(part)
            counts.append(min(batch_size, size - start) * sampler.num_generations)

        def column(get) -> np.ndarray:
            pairs = zip(parts, counts, strict=True)
            return np.concatenate([get(x)[:n] for x, n in pairs]).astype(float)

        columns = {
            "reward": column(lambda x: x.scores.total),
            "completions/mean_length": column(lambda x: x.completions.lengths),
            "completions/clipped_ratio": column(lambda x: ~x.completions.stopped),
        }
        for name in parts[0].scores.values:
            values = column(lambda x, name=name: x.scores.values[name])
            columns[f"rewards/{name}/mean"] = values
        failed = {
            f"rewards/{name}/failed": float(
                sum(
                    i < n  # the rest fills up the batch
                    for part, n in zip(parts, counts, strict=True)
                    for i in part.scores.faults[name]
                )
            )
            for name in parts[0].scores.faults
        }
        there = {name: x[~np.isnan(x)] for name, x in columns.items()}
        return {name: float(x.mean()) for name, x in there.items() if len(x)} | failed

    return evaluate
