"""Rewards that fail and have a fallback: told in words, once for each cause."""

import collections
import logging
from collections.abc import Sequence

from jaxalign.rewards import Completion, Reward, Scores
from jaxalign.rewards.faults import where

_LOG = logging.getLogger("jaxalign")
# A cause may hold text of its row: without a limit it would fill the log.
_MOST_CAUSES = 10


class Failures:
    """Counts what rewards failed on, by reward and cause."""

    def __init__(self):
        """Nothing has failed yet."""
        self._counts: collections.Counter[tuple[str, str]] = collections.Counter()

    def tell(
        self,
        rewards: Sequence[Reward],
        scores: Scores,
        completions: Sequence[Completion],
    ) -> None:
        """Warns of causes that are new.

        Args:
          rewards: Those that the scores are from.
          scores: What they gave.
          completions: To these.
        """
        for reward in rewards:
            faults = scores.faults.get(reward.name, {})
            # Reversed, so that the first fault of each cause stays.
            causes = {x.cause: x for x in reversed(list(faults.values()))}
            for cause, fault in causes.items():
                count = sum(x.cause == cause for x in faults.values())
                self._counts[reward.name, cause] += count
                # All that is counted came just now, so nothing was told of it before.
                new = self._counts[reward.name, cause] == count
                if new and len(self._counts) <= _MOST_CAUSES:
                    _LOG.warning(
                        "The reward `%s` failed on %d of %d completions, which got its "
                        "fallback %g: it %s, on %s. More failures of this cause are "
                        "counted in rewards/%s/failed.",
                        reward.name,
                        count,
                        len(completions),
                        reward.fallback,
                        fault.what,
                        where(fault, completions),
                        reward.name,
                    )

    def summary(self) -> None:
        """Warns of all that has failed, if anything has."""
        if self._counts:
            listed = "; ".join(
                f"`{name}` on {count} (it {cause})"
                for (name, cause), count in self._counts.most_common(_MOST_CAUSES)
            )
            _LOG.warning("Rewards failed, and completions got fallbacks: %s.", listed)
