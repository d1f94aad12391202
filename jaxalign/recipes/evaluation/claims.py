"""What completions claim: an answer, right or wrong, or none; and how sure of it."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from jaxalign.recipes.evaluation.scoring import (
    BY_OUTCOME,
    abstention_reward_of,
    outcomes_by,
)
from jaxalign.rewards import (
    Completion,
    Reward,
    Scores,
    brier,
    confidence_target,
    log_score,
    score,
    stated_confidence,
)
from jaxalign.rewards.abstention import Outcome, outcomes
from jaxalign.rl import Prompt

# In the order in which their parameters say how claims are judged: those that read
# confidences themselves say more.
_STATED = (brier, log_score, confidence_target)
_OPTIONS = ("column", "match", "refusals", "detector")


class Claim(NamedTuple):
    """What one completion claims.

    Attributes:
      outcome: Whether that is right; what states the confidence is no part of it. None
        where nobody said.
      confidence: From 0 to 1; None where none is stated, or where there is no answer.
    """

    outcome: Outcome | None
    confidence: float | None


ReadClaims: TypeAlias = Callable[[list[Completion]], list[Claim]]


class ClaimReading(NamedTuple):
    """Who says whether completions are right, and how sure they are.

    Attributes:
      reward: The abstention reward whose values say the outcomes, or None.
      claims: Reads confidences; None where nobody asks for them.
      named: The reward that says what abstains, for people; None if it is a flag.
      stating: Whether a reward reads confidences, and its parameters say what is right.
    """

    reward: Reward | None
    claims: ReadClaims | None
    named: str | None
    stating: bool = False

    def outcomes(
        self, completions: list[Completion], scores: Scores | None = None
    ) -> list[Outcome | None] | None:
        """Of each completion; None if there is nobody to say so.

        Args:
          completions: What to judge.
          scores: What the rewards gave, where they were asked already.
        """
        if self.reward is not None:
            # Its own detector decides, and is not asked again.
            return outcomes_by(self.reward, scores or score([self.reward], completions))
        if self.claims is not None:
            return [x.outcome for x in self.claims(completions)]
        return None

    def claims_of(
        self, completions: list[Completion], outcomes: Sequence[Outcome | None]
    ) -> list[Claim]:
        """What completions claim; only where there are `claims`.

        Args:
          completions: What to read.
          outcomes: Of each, as `outcomes` found them.
        """
        assert self.claims is not None
        claims = self.claims(completions)
        if self.stating:
            return claims
        # Right is what is reported as right, by a judge maybe.
        return [
            Claim(outcome, x.confidence if outcome in ("correct", "wrong") else None)
            for x, outcome in zip(claims, outcomes, strict=True)
        ]

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuses rows without an answer, before anything is sampled."""
        if self.claims is not None:
            for prompt in prompts:
                self.claims([prompt.completion("", [], True)])


def open_reading(
    rewards: list[Reward], confidence: bool, known: str | None
) -> ClaimReading:
    """Finds out who judges the completions of an evaluation.

    Args:
      rewards: Of the evaluation.
      confidence: Whether completions state confidences, whatever the rewards.
      known: Column that says what is known, or None.

    Raises:
      UserError: There is nothing to split by `known`.
    """
    claims, named = claims_reader(rewards, confidence), None
    # Claims can be split by `known` themselves, so that no reward is missed.
    reward = abstention_reward_of(rewards, None if claims else known)
    if reward is not None:
        named = reward.name
    elif claims is not None:
        named = next((x.name for x in rewards if _states(x)), None)
    return ClaimReading(reward, claims, named, any(map(_states, rewards)))


def claims_reader(rewards: Sequence[Reward], confidence: bool) -> ReadClaims | None:
    """Reads claims with the parameters of the first reward that judges answers so.

    Args:
      rewards: Of the evaluation.
      confidence: Whether completions state confidences, whatever the rewards.

    Returns:
      A function; None where no reward is about confidences and nobody asks for them.
    """
    judging = [_taken_apart(x) for x in rewards]
    stating = [x for x in judging if x[0] in _STATED]
    if not stating and not confidence:
        return None
    others = [x for x in judging if getattr(x[0], "__name__", "") in BY_OUTCOME]
    _, given = next(iter([*stating, *others]), (None, {}))
    options = {k: v for k, v in given.items() if k in _OPTIONS}
    tenths = bool(given.get("tenths"))

    def read(completions: list[Completion]) -> list[Claim]:
        stated = [stated_confidence(c.completion, tenths=tenths) for c in completions]
        return [
            Claim(outcome, x.confidence if outcome != "abstain" else None)
            for outcome, x in zip(outcomes(completions, **options), stated, strict=True)
        ]

    return read


def _states(reward: Reward) -> bool:
    return _taken_apart(reward)[0] in _STATED


def _taken_apart(reward: Reward):
    """A reward's function, and the parameters that are bound to it."""
    if isinstance(reward.function, functools.partial):
        return reward.function.func, reward.function.keywords
    return reward.function, {}
