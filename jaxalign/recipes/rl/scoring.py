"""What answers are worth: the rewards that the settings name, and ends that miss."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.recipes.open_rewards import open_rewards
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.rewards import (
    Completion,
    Scores,
    missing_eos_penalty,
    missing_eos_score,
    score,
)


def make_scoring(
    config: RLConfig, tokenizer: Tokenizer
) -> Callable[[list[Completion]], Scores]:
    """Builds `completions -> Scores` from the settings; no weights are loaded yet.

    The total of an answer that no stop token of the run ended is replaced or lowered,
    as `missing_eos_score` and `missing_eos_penalty` say.
    """
    pmap = config.parallel == "pmap"
    rewards = open_rewards(
        config.reward,
        tokenizer,
        dtype=config.dtype,
        attention=config.attention,
        mesh_sizes=None if pmap else config.layout["mesh_sizes"],
    )

    def scored(completions: list[Completion]) -> Scores:
        scores = score(rewards, completions)
        total = jnp.asarray(scores.total, jnp.float32)
        stopped = jnp.asarray([x.stopped for x in completions])
        if config.missing_eos_score is not None:
            total = missing_eos_score(total, stopped, score=config.missing_eos_score)
        elif config.missing_eos_penalty:
            penalty = config.missing_eos_penalty
            total = missing_eos_penalty(total, stopped, penalty=penalty)
        total = np.where(scores.applies, np.asarray(total), np.nan)
        return Scores(**{**vars(scores), "total": total})

    return scored
