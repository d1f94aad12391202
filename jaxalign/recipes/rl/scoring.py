"""What answers are worth: the rewards that the settings name, and ends that miss."""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxalign.data.tokenizer import Tokenizer, load_tokenizer
from jaxalign.errors import UserError
from jaxalign.recipes.reference import weights_digest
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.scorer import load_scorer
from jaxalign.rewards import (
    Completion,
    Reward,
    Scores,
    load_rewards,
    missing_eos_penalty,
    missing_eos_score,
    model_reward,
    score,
)

_FOLDER = re.compile(r"(?P<folder>.+?)(=(?P<weight>[-+.\deE]+))?")


def make_scoring(
    config: RLConfig, tokenizer: Tokenizer
) -> Callable[[list[Completion]], Scores]:
    """Builds `completions -> Scores` from the settings; reward models are loaded.

    The total of an answer that no stop token of the run ended is replaced or lowered,
    as `missing_eos_score` and `missing_eos_penalty` say.
    """
    rewards = open_rewards(config.reward, tokenizer, config)

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


def open_rewards(
    texts: Sequence[str], tokenizer: Tokenizer, config: RLConfig
) -> list[Reward]:
    """Rewards from texts; a folder is a reward model, which is loaded.

    Args:
      texts: As `load_rewards` takes them, or `FOLDER`, or `FOLDER=WEIGHT`.
      tokenizer: Of the policy, whose ids reward models must read too.
      config: How models are computed.
    """
    rewards = []
    for text in texts:
        form = _FOLDER.fullmatch(text.strip())
        if form is None or not Path(form["folder"]).is_dir():
            rewards += load_rewards([text])
        else:
            weight = float(form["weight"] or 1)
            rewards.append(_from_model(form["folder"], weight, tokenizer, config))
    names = [x.name for x in rewards]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"two rewards are called `{name}`; leave one out, or give your own "
                "function or folder another name."
            )
    return rewards


def reward_digests(texts: Sequence[str]) -> dict[str, str]:
    """Digests of reward models and of the user's own files, by what names them."""
    digests = {}
    for text in texts:
        form = _FOLDER.fullmatch(text.strip())
        folder = Path(form["folder"]) if form else Path("")
        file = Path(re.split(r"\.py:", text)[0] + ".py")
        if form and folder.is_dir():
            digests[f"reward {folder.name}"] = weights_digest(folder)
        elif ".py:" in text and file.is_file():
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            digests[f"reward {file.name}"] = digest
    return digests


def _from_model(
    folder: str, weight: float, tokenizer: Tokenizer, config: RLConfig
) -> Reward:
    own = load_tokenizer(folder).backend
    if own.get_vocab(True) != tokenizer.backend.get_vocab(True):
        raise UserError(
            f"--reward {folder}: its tokenizer has another vocabulary than the "
            "policy's, so the ids would mean other words. Train the reward model from "
            "the same base model."
        )
    pmap = config.parallel == "pmap"
    sizes = None if pmap else config.layout["mesh_sizes"]
    scorer = load_scorer(
        folder, dtype=config.dtype, attention=config.attention, mesh_sizes=sizes
    )
    path = Path(folder)
    name = path.parent.name if path.name == "export" else path.name
    # Compiling is part of the first call.
    return Reward(name, model_reward(scorer), weight, time_limit=3600.0)
