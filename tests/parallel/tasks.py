"""The kinds of training, each as a tiny objective, a batch and its parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxalign.losses import dpo_loss, grpo_loss
from jaxalign.models import Transformer, init_params, with_score_head
from jaxalign.objectives import (
    RewardBatch,
    RolloutBatch,
    packed_preference_objective,
    packed_reward_objective,
    packed_sft_objective,
    policy_objective,
    ppo_objective,
)
from jaxalign.objectives.score_losses import pair_loss
from jaxalign.ops import Layout, laid_out
from jaxalign.parallel import ACTIVATIONS
from jaxalign.recipes.scorer import score_fn_of
from jaxalign.training import TrainState, make_train_step
from tests.rows import Prompted, pair_batch
from tests.tiny import backbone_of

OPTIMIZER = optax.sgd(1.0)  # not Adam: it would hide a wrongly scaled gradient
TASKS = ("sft", "dpo", "reward", "ppo", "grpo")


class Task(NamedTuple):
    """What a training step is made of."""

    objective: Any
    batch: Any
    params: Any


def examples_of(rows, vocab):
    """A pair in each row but every eighth, of unequal lengths."""
    rng = np.random.default_rng(0)

    def tokens():
        return rng.integers(0, vocab, size=rng.integers(1, 5)).tolist()

    pairs = [Prompted(tokens(), [tokens(), tokens()]) for _ in range(rows)]
    return [[] if i % 8 == 7 else [pair] for i, pair in enumerate(pairs)]


def task_of(name, model: Transformer, rows, length, targets, **options) -> Task:
    """A task on rows of pairs; `options` go to the chunked unembedding."""
    vocab, rng = model.config.vocab_size, np.random.default_rng(1)
    pairs = pair_batch(
        examples_of(rows, vocab),
        length,
        targets,
        -rng.gamma(2.0, size=vocab).astype(np.float32),
    )
    backbone = backbone_of(model)
    critic = Transformer(with_score_head(model.config), model.dtype, model.remat)
    params = loud(model)
    if name == "sft":
        objective = packed_sft_objective(backbone, **options)
        return Task(objective, pairs.rows, params)
    if name == "dpo":
        objective = packed_preference_objective(dpo_loss, backbone, beta=0.3, **options)
        return Task(objective, pairs, params)
    start, length_of = (
        jnp.stack(tuple(x), axis=-1) for x in (pairs.start, pairs.length)
    )
    if name == "reward":
        # Read where the last token of each completion is predicted.
        last = start + jnp.maximum(length_of - 1, 0)
        batch = RewardBatch(pairs.rows, last, jnp.minimum(length_of, 1), {})
        objective = packed_reward_objective(pair_loss(), score_fn_of(critic))
        return Task(objective, batch, loud(critic))
    columns = rng.normal(size=(5, *pairs.rows.target_ids.shape)).astype(np.float32)
    old, advantages, ref, values, returns = map(jnp.asarray, columns)
    batch = RolloutBatch(
        pairs.rows,
        start,
        length_of,
        -jnp.abs(old),
        advantages,
        -jnp.abs(ref),
        values=values,
        returns=returns,
    )
    if name == "grpo":
        return Task(policy_objective(grpo_loss, backbone, **options), batch, params)
    objective = ppo_objective(backbone, score_fn_of(critic), **options)
    return Task(objective, batch, {"policy": params, "critic": loud(critic)})


def loud(model: Transformer) -> Any:
    """Parameters with which predictions differ."""

    def make(key):
        return jax.tree.map(lambda x: 3.0 * x, init_params(model, key))

    return jax.jit(make)(jax.random.key(0))


def state_of(params) -> TrainState:
    """A state of its own, which may be donated."""
    return TrainState.create(
        jax.tree.map(np.array, params), OPTIMIZER, jax.random.key(0)
    )


def step_on(mesh, objective, **options):
    """The training step in the layout of a mesh."""
    layout = Layout.of(mesh, ACTIVATIONS)

    def step(state, batch):
        with laid_out(layout):
            return make_train_step(objective, OPTIMIZER, **options)(state, batch)

    return step
