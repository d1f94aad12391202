"""What `--reward` names, models among it: opened, and known by their digests."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxalign.data.text.tokenizer import Tokenizer, load_tokenizer
from jaxalign.errors import UserError
from jaxalign.models import resolve_model
from jaxalign.recipes.judge import JUDGES, judges
from jaxalign.recipes.reference import weights_digest
from jaxalign.recipes.scorer import load_scorer
from jaxalign.rewards import Reward, model_reward, parse_reward, read_reward
from jaxalign.rewards.loading import with_own_names
from jaxalign.rewards.reward import MODEL_TIME_LIMIT


def open_rewards(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    dtype: str = "float32",
    **layout: Any,
) -> list[Reward]:
    """Rewards from texts; models are loaded at first use. Equal names get numbers.

    Args:
      texts: As `parse_reward` takes them, `judge(model=FOLDER)` and
        `rival_judge(model=FOLDER)` among them; a folder is a reward model, `FOLDER` or
        `FOLDER=WEIGHT`.
      tokenizer: Of the policy, whose ids reward models must read too.
      dtype: Type of the matrix products.
      **layout: Further keywords of `load_scorer`.

    Raises:
      UserError: A text or a model cannot be used.
    """
    models = judges(dtype)

    def opened(text: str) -> Reward:
        name, _, weight = read_reward(text)
        if Path(name).is_dir():
            return open_reward_model(name, tokenizer, weight, dtype=dtype, **layout)
        return parse_reward(text, models)

    return with_own_names(map(opened, texts))


def open_reward_model(
    folder: str, tokenizer: Tokenizer, weight: float = 1.0, **layout: Any
) -> Reward:
    """A reward model as a reward, called like its folder or its run's.

    Args:
      folder: Its folder, or its name on the hub.
      tokenizer: Of the policy.
      weight: In the total.
      **layout: Keywords of `load_scorer`.

    Raises:
      UserError: It is no reward model, or reads other tokens.
    """
    scorer = load_scorer(folder, **layout)
    if not load_tokenizer(resolve_model(folder)).same_words(tokenizer):
        raise UserError(
            f"the reward model {folder} has another vocabulary than the policy's, so "
            "the ids would mean other words. Train the reward model from the same base "
            "model."
        )
    path = Path(folder)
    name = path.parent.name if path.name == "export" else path.name
    return Reward(name, model_reward(scorer), weight, time_limit=MODEL_TIME_LIMIT)


def reward_digests(texts: Sequence[str]) -> dict[str, str]:
    """Digests of models and of the user's own files, by their paths."""
    digests = {}
    for path in (path for text in texts for path in _paths(text)):
        if path.is_dir():
            digests[f"reward:{path}"] = weights_digest(path)
        elif path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            digests[f"reward:{path}"] = digest
    return digests


def _paths(text: str) -> list[Path]:
    """What a text may name on disk."""
    name, given, _ = read_reward(text)
    if name in JUDGES:
        return [Path(given[x]) for x in ("model", "template") if given.get(x)]
    file = name.rpartition(":")[0]
    return [Path(file if file.endswith(".py") else name)]
