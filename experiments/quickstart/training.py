"""Pretraining, SFT and DPO: three objectives, one training loop.

Each stage is a function from parameters to parameters.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from rich.progress import track

from experiments.quickstart.answers import sample_answers
from experiments.quickstart.model import LanguageModel
from experiments.quickstart.tokens import Vocabulary, encode_answers, encode_texts
from experiments.quickstart.world import ABSTENTION, World, write_corpus
from jaxalign.losses import Pair
from jaxalign.models import init_params
from jaxalign.objectives import (
    Objective,
    PreferenceBatch,
    dpo_objective,
    sft_objective,
)
from jaxalign.training import TrainState, make_train_step
from jaxalign.training.optimizer import OptimizerConfig, make_optimizer

PRETRAINING = OptimizerConfig(learning_rate=5e-3, schedule="cosine", warmup_steps=50)
SFT = OptimizerConfig(learning_rate=1e-3, schedule="cosine")
DPO = OptimizerConfig(learning_rate=3e-4, schedule="cosine")


def pretrain(model: LanguageModel, vocabulary: Vocabulary, world: World, seed: int):
    """Next-token prediction on the corpus, from random parameters."""
    corpus = encode_texts(vocabulary, write_corpus(world, seed, size=24_000))
    init_key, key = jax.random.split(jax.random.key(seed))
    params = jax.jit(lambda key: init_params(model.transformer, key))(init_key)
    return train(
        "pretrain",
        sft_objective(model.stats),
        params,
        corpus,
        make_optimizer(PRETRAINING, num_steps=300)[0],
        key,
        num_steps=300,
        batch_size=160,
    )


def sft(model: LanguageModel, vocabulary: Vocabulary, world: World, params, seed: int):
    """Fine-tuning on true answers, whether the model can know them or not."""
    people = world.group(training=True)
    data = encode_answers(
        vocabulary,
        [world.question(i) for i in people],
        [world.answer(i) for i in people],
    )
    return train(
        "SFT",
        sft_objective(model.stats),
        params,
        data,
        without_embeddings(make_optimizer(SFT, num_steps=60)[0]),
        jax.random.key(seed),
        num_steps=60,
        batch_size=32,
    )


def dpo(model: LanguageModel, vocabulary: Vocabulary, world: World, params, seed: int):
    """Preference for what the model knows over abstention, and the reverse.

    The reference is the model that comes in; its log-probabilities are data.
    """
    people = [i for i in world.group(training=True) for _ in range(4)]
    questions = [world.question(i) for i in people]
    own = sample_answers(
        model.decoder, vocabulary, params, questions, jax.random.key(seed)
    )
    pairs = abstention_pairs(questions, [world.answer(i) for i in people], own)
    asked, chosen, rejected = zip(*pairs, strict=True)
    tokens = Pair(
        encode_answers(vocabulary, asked, chosen),
        encode_answers(vocabulary, asked, rejected),
    )
    logps = jax.jit(lambda tokens: model.stats(params, tokens).logps)
    data = PreferenceBatch(tokens, Pair(*(logps(x) for x in tokens)))
    data = jax.tree.map(np.asarray, data)
    return train(
        "DPO",
        dpo_objective(model.stats, beta=0.1),
        params,
        data,
        without_embeddings(make_optimizer(DPO, num_steps=60)[0]),
        jax.random.key(seed),
        num_steps=60,
        batch_size=64,
    )


def abstention_pairs(
    questions: Sequence[str], truths: Sequence[str], answers: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Question, chosen and rejected, by whether the model's own answer is right.

    A right answer is preferred to abstaining; abstaining is preferred to a wrong one.
    Where the model abstained there is nothing to compare.

    >>> abstention_pairs(["where ?"], ["Rome ."], ["Paris ."])
    [('where ?', 'I do not know .', 'Paris .')]
    """
    pairs = []
    for question, truth, answer in zip(questions, truths, answers, strict=True):
        if answer == truth:
            pairs.append((question, answer, ABSTENTION))
        elif answer != ABSTENTION:
            pairs.append((question, ABSTENTION, answer))
    return pairs


def train(
    title: str,
    objective: Objective,
    params: Any,
    data: Any,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    num_steps: int,
    batch_size: int,
) -> Any:
    """Runs `num_steps` updates on random rows of `data`, any pytree of rows."""
    state = TrainState.create(params, optimizer, key)
    step = jax.jit(make_train_step(objective, optimizer))
    batches = shuffled_rows(len(jax.tree.leaves(data)[0]), num_steps, batch_size)
    for rows in track(batches, f"{title:9}"):
        state, _ = step(state, jax.tree.map(lambda x: x[rows], data))  # noqa: B023
    return state.params


def shuffled_rows(num_rows: int, num_steps: int, batch_size: int) -> np.ndarray:
    """Row numbers `[num_steps, batch_size]`: one random order after the other."""
    rng = np.random.default_rng(num_rows)
    orders = -(-num_steps * batch_size // num_rows)
    rows = np.concatenate([rng.permutation(num_rows) for _ in range(orders)])
    return rows[: num_steps * batch_size].reshape(num_steps, batch_size)


def without_embeddings(optimizer: optax.GradientTransformation):
    """Fine-tunes the layers only.

    A person's embedding is used in no question but his own, so training it would teach
    answers by heart and nothing about the people who are held out.
    """

    def embeddings(params: Any) -> Any:
        return {name: name == "embed" for name in params}

    return optax.chain(optimizer, optax.masked(optax.set_to_zero(), embeddings))
