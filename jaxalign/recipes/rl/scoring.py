"""What completions are worth: the rewards of the settings, and ends that miss."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.prompts import Prompts
from jaxalign.recipes.scoring.open_rewards import (
    log_rewards,
    open_rewards,
    processes_of,
    reward_digests,
)
from jaxalign.recipes.scoring.reward_checks import check_rewards
from jaxalign.recipes.scoring.reward_failures import Failures
from jaxalign.rewards import Completion, Reward, Scores, score
from jaxalign.rl import Scoring

_LOG = logging.getLogger("jaxalign")


@dataclasses.dataclass(frozen=True)
class RunScoring(Scoring):
    """`Scoring` of a run: what fails is told, and processes are closed at its end.

    Attributes:
      rewards: Opened; no weights are loaded yet.
      failures: What the rewards have failed on so far.
    """

    rewards: Sequence[Reward]
    failures: Failures = dataclasses.field(default_factory=Failures)

    def __call__(self, completions: list[Completion]) -> Scores:
        """Scores completions; new causes of failures are told."""
        scores = score(self.rewards, completions)
        self.failures.tell(self.rewards, scores, completions)
        return self.with_ends(scores, completions)

    def check_all(self, config: RLConfig, prompts: Prompts) -> None:
        """Refuses rewards that cannot work on the rows; see `check_rewards`."""
        check_rewards(self.rewards, prompts.train, config.data, in_run=True)
        if prompts.held_out:
            where = config.eval_data or config.data
            check_rewards(self.rewards, prompts.held_out, where, in_run=True)

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


def make_scoring(config: RLConfig, tokenizer: Tokenizer) -> RunScoring:
    """Builds the scoring of a run from the settings; no weights are loaded yet."""
    pmap = config.parallel == "pmap"
    rewards = open_rewards(
        config.reward,
        tokenizer,
        dtype=config.dtype,
        attention=config.attention,
        # Reward models lie on a mesh in any case; under pmap no flag says on which.
        mesh_sizes=None if pmap else config.layout["mesh_sizes"],
    )
    return RunScoring(rewards, config.missing_eos_score, config.missing_eos_penalty)
