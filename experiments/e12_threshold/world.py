"""Questions whose truth is drawn anew each time, and what may be said to them."""

from typing import NamedTuple

import numpy as np

from jaxalign.rewards import Completion
from jaxalign.rewards.calibration import brier, confidence_target, log_score

QUESTIONS, CANDIDATES = 60, 3
NAMES = ("Ada", "Bohr", "Cantor")
REWARDS = {"brier": brier, "log_score": log_score}


class World(NamedTuple):
    """Q questions.

    Attributes:
      right: `[Q, K]`, with which probability each candidate is right; the rest is the
        probability that none is.
    """

    right: np.ndarray

    @property
    def best(self) -> np.ndarray:
        """`[Q]`, the probability of the likeliest candidate."""
        return self.right.max(axis=1)

    @classmethod
    def make(cls) -> "World":
        """From hardly known to nearly certain; which candidate is best differs."""
        best = np.linspace(0.01, 0.99, QUESTIONS)
        others = np.minimum(0.5 * best, 0.5 * (1 - best))
        right = np.stack([best, others, others / 2], axis=1)
        for q in range(QUESTIONS):
            right[q] = np.roll(right[q], q)
        return cls(right)


class Actions(NamedTuple):
    """A things that may be said, the same for all questions.

    Attributes:
      candidate: `[A]`, whom each names; -1: nobody.
      confidence: `[A]`, as stated.
      if_right: `[A]`, the reward where the candidate is right.
      if_wrong: `[A]`, where it is not.
    """

    candidate: np.ndarray
    confidence: np.ndarray
    if_right: np.ndarray
    if_wrong: np.ndarray

    @property
    def abstains(self) -> np.ndarray:
        """`[A]` bool."""
        return self.candidate < 0

    def expected(self, world: World) -> np.ndarray:
        """`[Q, A]`, the mean reward of each action to each question."""
        right = np.where(self.abstains, 0.0, world.right[:, self.candidate])
        return right * self.if_right + (1 - right) * self.if_wrong


def answers_or_abstains(threshold: float) -> Actions:
    """One of the candidates, or "I don't know", under `confidence_target`."""
    texts = [*NAMES, "I don't know."]
    rewards = [
        confidence_target(said(texts, truth), threshold=threshold)
        for truth in (True, False)
    ]
    candidate = np.array([*range(CANDIDATES), -1])
    return Actions(candidate, np.zeros(len(texts)), *map(np.array, rewards))


def states_confidence(reward: str, levels: int) -> Actions:
    """One of the candidates with one of so many confidences, from 0 to 1."""
    percent = np.linspace(0, 100, levels)
    texts = [f"{name}. Confidence: {x:g}%" for name in NAMES for x in percent]
    rewards = [REWARDS[reward](said(texts, truth)) for truth in (True, False)]
    candidate = np.repeat(np.arange(CANDIDATES), levels)
    confidence = np.tile(percent / 100, CANDIDATES)
    return Actions(candidate, confidence, *map(np.array, rewards))


def said(texts: list[str], right: bool) -> list[Completion]:
    """The texts as completions, in a row where each is right, or where none is."""
    return [
        Completion(
            prompt="Who?",
            completion=text,
            columns={"answer": text.split(".")[0] if right else "Dirac"},
        )
        for text in texts
    ]
