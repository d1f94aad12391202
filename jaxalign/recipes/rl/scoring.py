"""What completions are worth: the rewards of the settings, and ends that miss."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.recipes.open_rewards import (
    log_rewards,
    open_rewards,
    processes_of,
    reward_digests,
)
from jaxalign.recipes.prompt import Prompt
from jaxalign.recipes.reward_checks import check_rewards
from jaxalign.recipes.reward_failures import Failures
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.rewards import Completion, Reward, Scores, score

_LOG = logging.getLogger("jaxalign")


@dataclasses.dataclass(frozen=True)
class Scoring:
    """`completions -> Scores`, for a run.

    The total of a completion that no stop token of the run ended is replaced or
    lowered, as `missing_eos_score` and `missing_eos_penalty` say; in float64, like all
    that is done with rewards before they are centred.

    Attributes:
      rewards: Opened; no weights are loaded yet.
      missing_score: Total of a completion that was cut off, or None.
      missing_penalty: What such a one loses.
      failures: What the rewards have failed on so far.
    """

    rewards: Sequence[Reward]
    missing_score: float | None = None
    missing_penalty: float = 0.0
    failures: Failures = dataclasses.field(default_factory=Failures)

    def __call__(self, completions: list[Completion]) -> Scores:
        """Scores completions; new causes of failures are told."""
        scores = score(self.rewards, completions)
        self.failures.tell(self.rewards, scores, completions)
        total, stopped = scores.total, np.array([x.stopped for x in completions])
        if self.missing_score is not None:
            total = np.where(stopped, total, self.missing_score)
        elif self.missing_penalty:
            total = np.where(stopped, total, total - self.missing_penalty)
        total = np.where(scores.applies, total, np.nan)
        return dataclasses.replace(scores, total=total)

    def check(self, prompts: Sequence[Prompt], data: str) -> None:
        """Refuses rewards that cannot work on the rows; see `check_rewards`."""
        check_rewards(self.rewards, prompts, data, in_run=True)

    def digests(self, texts: Sequence[str]) -> dict[str, str]:
        """See `reward_digests`."""
        return reward_digests(texts, self.rewards)

    def log_to(self, folder: Path) -> None:
        """Sends what the user's own functions print to the run's folder."""
        try:
            log_rewards(self.rewards, folder)
        except OSError as error:
            _LOG.warning("what the rewards print is not kept: %s", error)

    def close(self) -> None:
        """Sums up failures, and ends the processes of the user's own functions."""
        self.failures.summary()
        for process in processes_of(self.rewards):
            process.close()


def make_scoring(config: RLConfig, tokenizer: Tokenizer) -> Scoring:
    """Builds the scoring of a run from the settings; no weights are loaded yet."""
    pmap = config.parallel == "pmap"
    rewards = open_rewards(
        config.reward,
        tokenizer,
        dtype=config.dtype,
        attention=config.attention,
        mesh_sizes=None if pmap else config.layout["mesh_sizes"],
    )
    return Scoring(rewards, config.missing_eos_score, config.missing_eos_penalty)
