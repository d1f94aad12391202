"""Reward models as rewards: a function from token ids to scores comes in."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np

from jaxalign.errors import UserError
from jaxalign.rewards.completion import Completion
from jaxalign.rewards.ensemble import ensemble_mean
from jaxalign.rewards.reward import RewardFunction

Scorer: TypeAlias = Callable[[list[list[int]]], Any]
"""Token ids of n whole sequences, prompt and answer -> n scores."""


def model_reward(
    *scorers: Scorer, combine: Callable[[jax.Array], jax.Array] = ensemble_mean
) -> RewardFunction:
    """The score of a reward model, or of several that are combined.

    Args:
      *scorers: One for each model, all of one tokenizer: `[ids, ...] -> [n]`.
      combine: From `[E, n]` scores to `[n]`; see `ensemble`.

    Returns:
      A reward function. Completions need their `prompt_ids` and `ids`.

    >>> longest_is_best = model_reward(lambda rows: [float(len(x)) for x in rows])
    >>> longest_is_best([Completion("2 + 2?", "4", ids=[7], prompt_ids=[1, 2])])
    array([3.], dtype=float32)
    """

    def reward(completions: list[Completion]) -> np.ndarray:
        rows = [_whole(c) for c in completions]
        scores = [np.asarray(scorer(rows), np.float32) for scorer in scorers]
        for x in scores:
            if x.shape != (len(rows),):
                raise UserError(
                    f"a reward model gave scores of shape {x.shape} for {len(rows)} "
                    f"sequences; they must be [{len(rows)}]."
                )
        return np.asarray(combine(jax.numpy.asarray(np.stack(scores))))

    if not scorers:
        raise UserError("model_reward needs at least one scorer.")
    return reward


def _whole(completion: Completion) -> list[int]:
    if not len(completion.prompt_ids):
        raise UserError(
            f"row {completion.index} has no token ids of its prompt, which a reward "
            "model needs. Set Completion.prompt_ids."
        )
    return [*map(int, completion.prompt_ids), *map(int, completion.ids)]
