"""Asking the model, and judging what it says."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.quickstart.tokens import Vocabulary
from experiments.quickstart.world import ABSTENTION, World
from jaxalign.rollout import Decoder, generate

LONGEST_ANSWER = 4  # tokens: a word, the full stop, the end, and one to spare


class Shares(NamedTuple):
    """Of a group of questions, the shares of the three possible outcomes."""

    correct: float
    abstains: float
    wrong: float


def sample_answers(
    decoder: Decoder,
    vocabulary: Vocabulary,
    params: Any,
    questions: Sequence[str],
    key: jax.Array,
    *,
    temperature: float = 1.0,
) -> list[str]:
    """The model's answers as text; temperature 0 is greedy."""
    completions = generate(
        decoder,
        params,
        [vocabulary.prompt(question) for question in questions],
        key,
        max_new_tokens=LONGEST_ANSWER,
        stop_ids=[vocabulary.eos],
        temperature=temperature,
    )
    return [vocabulary.decode(ids) for ids in completions.ids()]


def judge(answers: Sequence[str], truths: Sequence[str]) -> Shares:
    """Counts answers; whatever is neither true nor an abstention is wrong.

    >>> judge(["Rome .", "I-do-not-know .", "Rome .", "."], ["Rome ."] * 4)
    Shares(correct=0.5, abstains=0.25, wrong=0.25)
    """
    correct = float(np.mean([x == y for x, y in zip(answers, truths, strict=True)]))
    abstains = float(np.mean([x == ABSTENTION for x in answers]))
    return Shares(correct, abstains, 1 - correct - abstains)


def answer_held_out(
    decoder: Decoder, vocabulary: Vocabulary, world: World, params: Any
) -> dict[str, list[str]]:
    """Greedy answers about the people who are held out, the known and the unknown."""
    answers = {}
    for group, people in held_out(world).items():
        questions = [world.question(i) for i in people]
        answers[group] = sample_answers(
            decoder, vocabulary, params, questions, jax.random.key(0), temperature=0
        )
    return answers


def held_out(world: World) -> dict[str, list[int]]:
    """The people that are evaluated on."""
    return {
        "known": world.group(training=False, known=True),
        "unknown": world.group(training=False, known=False),
    }
