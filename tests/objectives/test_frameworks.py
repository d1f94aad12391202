"""The same objectives train models of any framework: what they take is a function."""

import dataclasses
import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxalign.data.packing import make_batch
from jaxalign.errors import UserError
from jaxalign.losses import Pair, dpo_loss, sft_loss
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


class NnxWithDropout(NnxModel):
    """Its random keys and their counters are leaves beside the weights."""

    def __init__(self, rngs):
        super().__init__(rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, ids):
        return self.out(self.dropout(jnp.tanh(self.embed(ids))))


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), optax.adamw(0.1)])
def test_the_rngs_of_a_model_are_refused_as_parameters(optimizer):
    model = NnxWithDropout(nnx.Rngs(0))
    for params in (nnx.split(model)[1], model):
        with pytest.raises(UserError, match=r"rngs.*only floats can.*README, \"Any mo"):
            TrainState.create(params, optimizer, jax.random.key(0))
    state = TrainState.create(jnp.zeros(2), optimizer, jax.random.key(0))
    state = dataclasses.replace(state, params={"count": jnp.zeros(2, jnp.int32)})
    fails: Any = lambda *_: 1 / 0  # noqa: E731
    step = make_train_step(fails, optimizer)
    with pytest.raises(UserError, match=r"^params\['count'\] is int32"):
        step(state, {"x": jnp.ones((2, 2))})


def nnx_parts():
    return nnx.split(NnxWithDropout(nnx.Rngs(0)), nnx.Param, ...)


def train_with_dropout(make_apply):
    """The losses of two steps at a learning rate of zero."""
    loss, batch = sft()
    graph, params, rest = nnx_parts()

    def objective(params, batch, key):
        return bind(loss, make_apply(graph, rest, key))(params, batch, key)

    state = TrainState.create(params, optax.sgd(0.0), jax.random.key(0))
    step = jax.jit(make_train_step(objective, optax.sgd(0.0), num_microbatches=2))
    losses = []
    for _ in range(2):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"].value))
    return losses


def test_dropout_is_drawn_anew_in_every_step_from_its_key():
    def reseeded(graph, rest, key):
        def apply(params, ids):
            model = nnx.merge(graph, params, rest, copy=True)
            nnx.reseed(model, default=key)
            return model(ids)

        return apply

    first, second = train_with_dropout(reseeded)
    assert first != second
    assert train_with_dropout(reseeded) == [first, second]


def test_rngs_that_would_change_within_the_step_are_refused_in_words():
    def merged(graph, rest, key):
        return lambda params, ids: nnx.merge(graph, params, rest)(ids)

    with pytest.raises(UserError, match="rngs change while it is called.*README"):
        train_with_dropout(merged)


def test_a_mesh_with_explicit_axes_is_refused_in_words_or_made_automatic():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    params, apply_fn = plain_function()
    loss, batch = dpo()
    objective = bind(loss, apply_fn)
    state = TrainState.create(params, optax.sgd(0.5), jax.random.key(0))
    step = make_train_step(objective, optax.sgd(0.5), num_microbatches=2)
    expected, _ = jax.jit(step)(state, batch)

    with jax.set_mesh(mesh):
        rows, whole = jax.device_put((batch, state), (P("data"), P()))
        with pytest.raises(UserError, match="AxisType.Explicit.*auto_axes: README"):
            jax.jit(step)(whole, rows)
        with pytest.raises(UserError, match="AxisType.Explicit"):
            jax.jit(objective)(whole.params, rows, state.key)
        automatic = jax.jit(jax.sharding.auto_axes(step, out_sharding=P()))
        got, _ = automatic(whole, rows)
    chex.assert_trees_all_close(got.params, expected.params, rtol=1e-5)
    assert rows.per_token["ref_logps"].sharding.spec == P("data")


def sft():
    examples = random_examples(np.random.default_rng(0), 4, V, responses=1)
    return sft_loss, plain_batch(examples, 12)


def dpo():
    examples = random_examples(np.random.default_rng(0), 4, V, responses=2)
    ref = np.full(V, -np.log(V), np.float32)
    return dpo_loss, plain_batch(examples, 12, ref)


@pytest.mark.parametrize(
    ("make", "task"),
    [
        *((plain_function, sft), (pytree, dpo), (flax_nnx, dpo), (flax_linen, sft)),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                *((plain_function, dpo), (pytree, sft)),
                *((flax_nnx, sft), (flax_linen, dpo)),
            )
        ),
    ],
)
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


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: x.swapaxes(1, 2), r"shape \(4, 12, 6\)"),
        (lambda x: x[:, :-1], r"shape \(4, 5, 12\)"),
        (lambda x: x.reshape(-1, V), r"shape \(24, 12\)"),
        (lambda x: (x, None), "a tuple"),
    ],
)
def test_logits_that_are_laid_out_otherwise_are_refused(change, found):
    """Those of another order have as many numbers, and were read as other tokens'."""
    params, apply = plain_function()
    ids = np.arange(28).reshape(4, 7) % V
    batch = make_batch(ids, ids != ids[:, :1])
    objective = bind(sft_loss, lambda params, ids: change(apply(params, ids)))
    with pytest.raises(UserError, match=rf"the model gave {found} for .* \(4, 6\)"):
        objective(params, batch, jax.random.key(0))


def test_a_keyword_that_a_loss_lacks_is_refused_by_name():
    with pytest.raises(UserError, match="dpo_loss has no .* `betta`.*Did you .*`beta`"):
        bind(dpo_loss, plain_function()[1], betta=0.1)
    ref = jnp.zeros((1, 1))
    bind(dpo_loss, plain_function()[1], ref=Pair(ref, ref), beta=0.1)
