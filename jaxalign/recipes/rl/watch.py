"""Says so when there is nothing to learn from, or most completions are cut off."""

import logging

from jaxalign.errors import UserError
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.rl import Experience

_LOG = logging.getLogger("jaxalign")


class Watch:
    """Looks at each iteration before its first update."""

    def __init__(self, config: RLConfig):
        """Takes the bounds of the settings."""
        self._patience, self._stops = config.patience, config.on_dead_signal == "stop"
        self._max_clipped, self._told = config.max_clipped, False

    def look(self, experience: Experience) -> None:
        """Warns; or ends the run, where the settings say so.

        Raises:
          UserError: Rewards have not differed for long.
        """
        # Counted in the state, so that a resumed run counts on.
        silent = int(experience.control.silent)
        if silent and silent % self._patience == 0:
            text = (
                f"in {silent} iterations in a row all completions of each prompt had "
                "the same reward, or none: there is nothing to learn. Look at "
                "completions/ and at the reward function; raise --temperature or "
                "--num-generations, or --max-new-tokens if completions are cut off."
            )
            if self._stops:
                raise UserError(text)
            _LOG.warning(text)
        clipped = float(experience.metrics["completions/clipped_ratio"].value)
        if clipped > self._max_clipped and not self._told:
            self._told = True
            _LOG.warning(
                "%.0f%% of the completions were cut off before a stop token: raise "
                "--max-new-tokens, or teach the model to stop (--missing-eos-penalty, "
                "or supervised fine-tuning on completions that end in one).",
                100 * clipped,
            )
