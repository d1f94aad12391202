"""Asking the model, and judging what it says."""

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import jax
import numpy as np

from experiments.quickstart.tokens import Vocabulary
from experiments.quickstart.world import ABSTENTION, World
from jaxalign.rewards.abstention import Outcome
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


def outcome(answer: str, truth: str) -> Outcome:
    """Which of the three an answer is.

    >>> outcome("Oslo .", "Rome ."), outcome("I-do-not-know .", "Rome .")
    ('wrong', 'abstain')
    """
    if answer == truth:
        return "correct"
    return "abstain" if answer == ABSTENTION else "wrong"


def judge(answers: Sequence[str], truths: Sequence[str]) -> Shares:
    """Counts answers; whatever is neither true nor an abstention is wrong.

    >>> judge(["Rome .", "I-do-not-know .", "Rome .", "."], ["Rome ."] * 4)
    Shares(correct=0.5, abstains=0.25, wrong=0.25)
    """
    pairs = zip(answers, truths, strict=True)
    outcomes = [outcome(answer, truth) for answer, truth in pairs]
    return Shares(
        *(float(np.mean([x == y for x in outcomes])) for y in get_args(Outcome))
    )


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
