"""How a policy does on held-out prompts: sampled completions and what rewards say."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from jaxalign.rl.iteration import Iteration
from jaxalign.rl.prompt import Prompt, as_prompts
from jaxalign.rl.rollout import Rollout, Sampler
from jaxalign.training import Clock, StopRequest, chaos
from jaxalign.training.evaluate import Evaluate


def make_reward_evaluation(
    iteration: Iteration,
    prompts: Sequence[Prompt | Sequence[int]],
    *,
    batch_size: int,
    key: jax.Array,
    stop: StopRequest | None = None,
) -> Evaluate | None:
    """Mean rewards and lengths of completions of some prompts; None without any.

    One completion of each is sampled as in an iteration. The same noise serves every
    evaluation, so that what differs is the policy. A reward that applies to none of the
    completions is left out.

    Args:
      iteration: How completions are sampled and scored.
      prompts: To be completed.
      batch_size: Prompts at a time; the last are filled up with some of the first.
      key: Of the samples.
      stop: Looked at between two batches.

    Returns:
      `RLState -> metrics`; None in place of metrics when it was stopped.
    """
    whole = iteration.updates.devices.unreplicate
    sampler = alone(iteration.sampler)
    held_out, size = as_prompts(prompts), len(prompts)
    if not size:
        return None

    def evaluate(state) -> dict[str, float] | None:
        # Copied once for all batches, as sampling takes one copy of the policy.
        own = whole(iteration.policy_of(state.params))
        parts: list[Rollout] = []
        counts: list[int] = []
        for start in range(0, size, batch_size):
            chaos.at("eval")
            if stop is not None and stop.requested:
                return None
            # Filled up, so that the sampler compiles for one number of prompts.
            batch = [held_out[i % size] for i in range(start, start + batch_size)]
            noise = jax.random.fold_in(key, start)
            # Rewards are told of the iteration that is over: the sampler adds one.
            part, _ = sampler(own, int(state.step) - 1, batch, noise, Clock())
            parts.append(part)
            counts.append(min(batch_size, size - start))
        return means_of(parts, counts)

    return evaluate


def alone(sampler: Sampler) -> Sampler:
    """The same sampler, but for one completion of each prompt, the policy's own."""
    sampling = dataclasses.replace(
        sampler.sampling, num_generations=1, informative=None
    )
    return dataclasses.replace(sampler, sampling=sampling, greedy=False, rival=None)


def means_of(parts: Sequence[Rollout], counts: Sequence[int]) -> dict[str, float]:
    """Means over the first so many completions of each rollout."""

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
    # NaN where a reward does not apply.
    there = {name: x[~np.isnan(x)] for name, x in columns.items()}
    return {name: float(x.mean()) for name, x in there.items() if len(x)} | failed
