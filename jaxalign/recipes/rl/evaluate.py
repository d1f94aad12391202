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

    The same noise serves every evaluation, so that what differs is the policy.

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

    def evaluate(params) -> dict[str, float] | None:
        own = policy(params)
        parts, counts = [], []
        for start in range(0, size, batch_size):
            chaos.at("eval")
            if stop.requested:
                return None
            numbers = [i % size for i in range(start, start + batch_size)]
            noise = jax.random.fold_in(key, start)
            part, _ = sampler(own, 0, numbers, noise, Clock())
            parts.append(part)
            counts.append(min(batch_size, size - start) * sampler.num_generations)

        def column(get) -> np.ndarray:
            pairs = zip(parts, counts, strict=True)
            return np.concatenate([get(x)[:n] for x, n in pairs])

        applies = column(lambda x: x.scores.applies)
        totals = column(lambda x: x.scores.total)[applies]

        def mean_of(name: str) -> float:
            values = column(lambda x: x.scores.values[name])
            values = values[~np.isnan(values)]
            return float(values.mean()) if len(values) else 0.0

        return {
            "reward": float(totals.mean()) if len(totals) else 0.0,
            "completions/mean_length": float(
                column(lambda x: x.completions.lengths).mean()
            ),
            "completions/clipped_ratio": float(
                column(lambda x: ~x.completions.stopped).mean()
            ),
            **{f"rewards/{k}/mean": mean_of(k) for k in parts[0].scores.values},
        }

    return evaluate
