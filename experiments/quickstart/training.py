"""Pretraining, SFT and DPO: three objectives, one training loop.

Each stage is a function from parameters to parameters.
"""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from rich.progress import track

from experiments.quickstart.answers import sample_answers
from experiments.quickstart.model import LanguageModel
from experiments.quickstart.tokens import Vocabulary, encode_answers, encode_texts
from experiments.quickstart.world import ABSTENTION, World, write_corpus
from jaxalign.batch import Batch
from jaxalign.losses import dpo_loss, sft_loss
from jaxalign.models import init_params
from jaxalign.objectives import bind, token_statistics
from jaxalign.training import TrainState, make_train_step
from jaxalign.training.optimizer import OptimizerConfig, make_optimizer
from jaxalign.training.step import Step


class Plan(NamedTuple):
    """How long a stage trains, and how fast."""

    num_steps: int
    batch_size: int
    optimizer: OptimizerConfig


PRETRAINING = Plan(
    400, 160, OptimizerConfig(learning_rate=5e-3, schedule="cosine", warmup_steps=50)
)
SFT = Plan(60, 32, OptimizerConfig(learning_rate=1e-3, schedule="cosine"))
DPO = Plan(30, 64, OptimizerConfig(learning_rate=5e-4, schedule="cosine"))
BETA = 0.3
ROUNDS = 2
SAMPLES = 4  # answers to each question that pairs are made of


def pretrain(model: LanguageModel, vocabulary: Vocabulary, world: World, seed: int):
    """Next-token prediction on the corpus, from random parameters."""
    corpus = encode_texts(vocabulary, write_corpus(world, seed, size=24_000))
    init_key, key = jax.random.split(jax.random.key(seed))
    params = jax.jit(lambda key: init_params(model.transformer, key))(init_key)

    optimizer, _ = make_optimizer(PRETRAINING.optimizer, PRETRAINING.num_steps)
    step = jax.jit(make_train_step(bind(sft_loss, model.logits), optimizer))
    state = TrainState.create(params, optimizer, key)
    return train("pretrain", step, state, corpus, PRETRAINING)


def sft(model: LanguageModel, vocabulary: Vocabulary, world: World, params, seed: int):
    """Fine-tuning on true answers, whether the model can know them or not."""
    people = world.group(training=True)
    questions = [world.question(i) for i in people]
    data = encode_answers(vocabulary, questions, [world.answer(i) for i in people])

    optimizer = without_embeddings(make_optimizer(SFT.optimizer, SFT.num_steps)[0])
    step = jax.jit(make_train_step(bind(sft_loss, model.logits), optimizer))
    state = TrainState.create(params, optimizer, jax.random.key(seed))
    return train("SFT", step, state, data, SFT)


def dpo(model: LanguageModel, vocabulary: Vocabulary, world: World, params, seed: int):
    """Preference for what the model knows over abstention, and the reverse.

    The pairs of the second round are made of what the model says after the first: it
    starts again from there, with a new reference.
    """
    optimizer = without_embeddings(make_optimizer(DPO.optimizer, DPO.num_steps)[0])
    objective = bind(dpo_loss, model.logits, beta=BETA)
    step = jax.jit(make_train_step(objective, optimizer))
    for i in range(ROUNDS):
        sample_key, key = jax.random.split(jax.random.fold_in(jax.random.key(seed), i))
        data = preference_data(model, vocabulary, world, params, sample_key)
        state = TrainState.create(params, optimizer, key)
        params = train(f"DPO {i + 1}", step, state, data, DPO)
    return params


def preference_data(
    model: LanguageModel, vocabulary: Vocabulary, world: World, params, key: jax.Array
) -> Batch:
    """The model's own answers as pairs, with its own log-probabilities as reference."""
    people = [i for i in world.group(training=True) for _ in range(SAMPLES)]
    questions = [world.question(i) for i in people]
    own = sample_answers(model.decoder, vocabulary, params, questions, key)
    pairs = abstention_pairs(questions, [world.answer(i) for i in people], own)

    asked, chosen, rejected = zip(*pairs, strict=True)
    batch = encode_answers(vocabulary, asked, chosen, rejected)
    reference = jax.jit(token_statistics(model.logits))(params, batch.tokens)
    return batch.with_tokens(ref_logps=np.asarray(reference.logps))


def abstention_pairs(
    questions: Sequence[str], truths: Sequence[str], answers: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Question, chosen and rejected, by whether the model's own answer is right.

    A right answer is preferred to abstaining; abstaining is preferred to a wrong one.
    Where the model abstained there is nothing to compare.

    >>> abstention_pairs(["where ?"], ["Rome ."], ["Paris ."])
    [('where ?', 'I-do-not-know .', 'Paris .')]
    """
    pairs = []
    for question, truth, answer in zip(questions, truths, answers, strict=True):
        if answer == truth:
            pairs.append((question, answer, ABSTENTION))
        elif answer != ABSTENTION:
            pairs.append((question, ABSTENTION, answer))
    return pairs


def train(title: str, step: Step, state: TrainState, data: Any, plan: Plan) -> Any:
    """Takes the plan's steps on random rows of `data`, any pytree of host arrays."""
    num_rows = len(jax.tree.leaves(data)[0])
    batches = shuffled_rows(num_rows, plan.num_steps, plan.batch_size)
    for rows in track(batches, f"{title:9}"):
        batch = jax.tree.map(operator.itemgetter(rows), data)
        state, _ = step(state, batch)
    return state.params


def shuffled_rows(num_rows: int, num_steps: int, batch_size: int) -> np.ndarray:
    """Row numbers `[num_steps, batch_size]`: one random order after the other."""
    rng = np.random.default_rng(num_rows)
    orders = -(-num_steps * batch_size // num_rows)
    rows = np.concatenate([rng.permutation(num_rows) for _ in range(orders)])
    return rows[: num_steps * batch_size].reshape(num_steps, batch_size)


def without_embeddings(optimizer: optax.GradientTransformation):
    """Fine-tunes everything but the input embeddings.

    A person's embedding takes part in the questions about that person alone: training
    it teaches answers by heart, and nothing about the people who are held out.
    """

    def embeddings(params: Any) -> Any:
        return {name: name == "embed" for name in params}

    return optax.chain(optimizer, optax.masked(optax.set_to_zero(), embeddings))
