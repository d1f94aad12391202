"""The same objectives train models of any framework: what they take is a function."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxalign.losses import dpo_loss, sft_loss
from jaxalign.objectives import bind
from jaxalign.training import TrainState, make_train_step
from tests.rows import plain_batch, random_examples

V, D = 12, 8


def plain_function():
    keys = jax.random.split(jax.random.key(0))
    params = [jax.random.normal(key, (V, D)) for key in keys]

    def apply(params, ids):
        return jnp.tanh(params[0][ids]) @ params[1].T

    return params, apply


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["table", "out"], meta_fields=["cap"]
)
@dataclasses.dataclass(frozen=True)
class Module:
    """A model that is its own parameters, as in Equinox."""

    table: jax.Array
    out: jax.Array
    cap: float

    def __call__(self, ids):
        return self.cap * jnp.tanh(self.table[ids] @ self.out / self.cap)


def pytree():
    keys = jax.random.split(jax.random.key(0))
    model = Module(
        jax.random.normal(keys[0], (V, D)), jax.random.normal(keys[1], (D, V)), 5.0
    )
    return model, lambda model, ids: model(ids)


class NnxModel(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(V, D, rngs=rngs)
        self.out = nnx.Linear(D, V, rngs=rngs)

    def __call__(self, ids):
        return self.out(jnp.tanh(self.embed(ids)))


def flax_nnx():
    graph, params = nnx.split(NnxModel(nnx.Rngs(0)))
    return params, lambda params, ids: nnx.merge(graph, params)(ids)


class LinenModel(linen.Module):
    @linen.compact
    def __call__(self, ids):
        return linen.Dense(V)(jnp.tanh(linen.Embed(V, D)(ids)))


def flax_linen():
    model = LinenModel()
    return model.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32)), model.apply


def sft():
    examples = random_examples(np.random.default_rng(0), 4, V, responses=1)
    return sft_loss, plain_batch(examples, 12)


def dpo():
    examples = random_examples(np.random.default_rng(0), 4, V, responses=2)
    ref = np.full(V, -np.log(V), np.float32)
    return dpo_loss, plain_batch(examples, 12, ref)


@pytest.mark.parametrize("task", [sft, dpo])
@pytest.mark.parametrize("make", [plain_function, pytree, flax_nnx, flax_linen])
def test_it_learns(make, task):
    params, apply_fn = make()
    loss, batch = task()
    optimizer = optax.sgd(0.5)
    state = TrainState.create(params, optimizer, jax.random.key(0))
    objective = bind(loss, apply_fn)
    step = jax.jit(make_train_step(objective, optimizer, num_microbatches=2))
    losses = []
    for _ in range(12):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"].value))
    assert losses[-1] < 0.95 * losses[0]
    assert jax.tree.structure(state.params) == jax.tree.structure(params)
