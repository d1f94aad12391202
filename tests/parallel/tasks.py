"""The kinds of training, each as a tiny objective, a batch and its parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxalign.losses import dpo_loss, grpo_loss, ppo_loss, sft_loss
from jaxalign.models import Transformer, backbone_of, init_params, with_score_head
from jaxalign.objectives import bind, bind_token_loss, reward_objective
from jaxalign.objectives.score_losses import pair_loss
from jaxalign.ops import Layout, laid_out
from jaxalign.parallel import ACTIVATIONS
from jaxalign.recipes.scoring.scorer import score_fn_of
from jaxalign.training import TrainState, make_train_step
from tests.rows import Prompted, packed_batch

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
    ref = -rng.gamma(2.0, size=vocab).astype(np.float32)
    batch = packed_batch(examples_of(rows, vocab), length, targets, ref)
    backbone, params = backbone_of(model), loud(model)
    critic = Transformer(with_score_head(model.config), model.dtype, model.remat)
    if name == "sft":
        return Task(bind_token_loss(sft_loss, backbone, **options), batch, params)
    if name == "dpo":
        return Task(bind(dpo_loss, backbone, beta=0.3, **options), batch, params)
    if name == "reward":
        # Read where the last token of each completion is predicted.
        last = batch.start + jnp.maximum(batch.length - 1, 0)
        batch = batch._replace(start=last, length=jnp.minimum(batch.length, 1))
        objective = reward_objective(pair_loss(), score_fn_of(critic))
        return Task(objective, batch, loud(critic))
    columns = rng.normal(size=(4, *batch.tokens.target_ids.shape)).astype(np.float32)
    names = "advantages", "old_logps", "values", "returns"
    known = dict(zip(names, map(jnp.asarray, columns), strict=True))
    batch = batch.with_tokens(**{**known, "old_logps": -jnp.abs(known["old_logps"])})
    if name == "grpo":
        objective = bind(grpo_loss, backbone, entropy=True, **options)
        return Task(objective, batch, params)
    objective = bind(
        ppo_loss, backbone, critic=score_fn_of(critic), entropy=True, **options
    )
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
