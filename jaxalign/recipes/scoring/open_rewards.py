"""What `--reward` names, models among it: opened, and known by their digests."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxalign.data.text.tokenizer import Tokenizer, load_tokenizer
from jaxalign.errors import UserError
from jaxalign.models import resolve_model
from jaxalign.recipes.scoring.asking import served_judges
from jaxalign.recipes.scoring.judge import judges
from jaxalign.recipes.scoring.judge_rewards import JUDGES
from jaxalign.recipes.scoring.reference import weights_digest
from jaxalign.recipes.scoring.scorer import load_scorer
from jaxalign.rewards import Reward, model_reward, parse_reward, read_reward
from jaxalign.rewards.builtin import BUILT_IN
from jaxalign.rewards.loading import Processes, of_every_reward, with_own_names
from jaxalign.rewards.user.function import UserFunction
from jaxalign.rewards.user.process import UserProcess


def open_rewards(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    dtype: str = "auto",
    shown: bool = False,
    **layout: Any,
) -> list[Reward]:
    """Rewards from texts; models are loaded at first use. Equal names get numbers.

    The code of the user's own functions is loaded here, in a process of its own that
    ends when the rewards are dropped.

    Args:
      texts: As `parse_reward` takes them, `judge(model=FOLDER)` and
        `rival_judge(model=FOLDER)` among them; a folder is a reward model, `FOLDER` or
        `FOLDER=WEIGHT`.
      tokenizer: Of the policy, whose ids reward models must read too.
      dtype: Type of the matrix products, or `auto`.
      shown: Whether people see how far models are; not beside the bar of a run.
      **layout: Further keywords of `load_scorer`.

    Raises:
      UserError: A text or a model cannot be used.
    """
    models, processes = judges(dtype, shown=shown), Processes()

    def opened(text: str) -> Reward:
        name, given, weight = read_reward(text)
        if not _is_model(name, text):
            return parse_reward(text, models, processes)
        own = of_every_reward(given)
        if given:
            raise UserError(
                f"--reward {text!r}: a reward model takes fallback and time_limit, and "
                f"no `{next(iter(given))}`."
            )
        reward = open_reward_model(
            name, tokenizer, weight, dtype=dtype, shown=shown, **layout
        )
        return dataclasses.replace(reward, **own)

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
    # The export of a run is called like the run.
    name = path.parent.name if path.name == "export" else path.name
    # It computes in this process, where no time limit could end it.
    return Reward(name, model_reward(scorer), weight, time_limit=None)


def reward_digests(
    texts: Sequence[str], rewards: Sequence[Reward] = ()
) -> dict[str, str]:
    """Digests of models and of judges' templates, by their paths, and of code.

    Args:
      texts: As the user gave them.
      rewards: Opened, for the code of the user's functions: with all that it imports
        from where the user keeps it, by module, and files by their paths; and for what
        the values of a served judge depend on.
    """
    digests = {}
    for path in (path for text in texts for path in _paths(text)):
        if path.is_dir():
            digests[f"reward:{path}"] = weights_digest(path)
        elif path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            digests[f"reward:{path}"] = digest
    for process in processes_of(rewards):
        digests |= {f"reward:{k}": v for k, v in process.sources.items()}
    for name, (judge, given) in served_judges(rewards).items():
        digests[f"reward:{name}"] = judge.digest(given)
    return digests


def processes_of(rewards: Sequence[Reward]) -> list[UserProcess]:
    """The processes of the user's own functions, each once."""
    functions = (x.function for x in rewards)
    found = (x.process for x in functions if isinstance(x, UserFunction))
    # Rewards from one file share a process.
    return list(dict.fromkeys(found))


def log_rewards(rewards: Sequence[Reward], folder: Path) -> None:
    """Keeps in a folder what the user's own functions print, and what judges reply.

    The one in `logs/rewards.log`, the other, of judges that are served, in `judges`.

    Raises:
      OSError: It cannot be written.
    """
    for process in processes_of(rewards):
        file = folder / "logs" / "rewards.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        process.log_to(file)
    for judge, _ in served_judges(rewards).values():
        judge.clients.keep_in(folder)


def _is_model(name: str, text: str) -> bool:
    """Whether a name is the folder of a reward model."""
    if not Path(name).is_dir():
        return False
    if name not in BUILT_IN and name not in JUDGES:
        return True
    if (Path(name) / "config.json").exists():
        raise UserError(
            f"--reward {text!r}: {name} is a reward of that name, and a model's folder "
            f"here too. Write ./{name} for the folder, or call it otherwise."
        )
    return False


def _paths(text: str) -> list[Path]:
    """What a text may name on disk, but code."""
    name, given, _ = read_reward(text)
    if name in JUDGES:
        # A model that is served is a name, and no folder.
        files = ("template",) if given.get("url") else ("model", "template")
        return [Path(given[x]) for x in files if given.get(x)]
    # Code stands as FILE:FUNCTION, and its process knows all that it imports.
    return [] if ":" in name or name in BUILT_IN else [Path(name)]
