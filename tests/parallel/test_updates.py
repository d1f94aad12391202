"""A real transformer's update is the same on every mesh."""

import functools

import chex
import jax
import numpy as np
import optax
import pytest

from jaxalign.losses import dpo_loss, sft_loss
from jaxalign.models import PARTITION_RULES
from jaxalign.objectives import bind, bind_token_loss
from jaxalign.parallel import batch_sharding, make_mesh, replicated, shardings
from jaxalign.training import TrainState, make_train_step
from tests.rows import packed_batch, random_examples
from tests.tiny import backbone_of, make_model, make_params

V = 32
OPTIMIZER = optax.sgd(1.0)
MESHES = [{"data": 8}, {"fsdp": 8}, {"fsdp": 4, "tensor": 2}]


@functools.cache
def setup(task):
    model = make_model(V)
    rng = np.random.default_rng(0)
    examples = random_examples(rng, 10, V, responses=1 + (task == "dpo"), longest=4)
    rows = [examples[i : i + 1] for i in range(6)] + [examples[6:], []]
    rows = rows + [[]] * 7 + [examples[:1]]
    if task == "sft":
        objective = bind_token_loss(sft_loss, backbone_of(model), chunk_size=32)
        batch = packed_batch(rows, 32, 16)
    else:
        objective = bind(dpo_loss, backbone_of(model), chunk_size=32, beta=0.3)
        ref = -rng.gamma(2.0, size=V).astype(np.float32)
        batch = packed_batch(rows, 48, 32, ref)
    return objective, batch, make_params(model)


def new_state(params):
    params = jax.tree.map(np.array, params)
    return TrainState.create(params, OPTIMIZER, jax.random.key(0))


@functools.cache
def single_device_update(task):
    objective, batch, params = setup(task)
    state, metrics = jax.jit(make_train_step(objective, OPTIMIZER))(
        new_state(params), batch
    )
    return jax.device_get((state.params, metrics))


def assert_same_update(task, state, metrics):
    got = jax.device_get((state.params, metrics))
    chex.assert_trees_all_close(got, single_device_update(task), rtol=1e-4, atol=2e-5)


def on_mesh(task, sizes):
    """The step, compiled, with its state and batch in their places."""
    objective, batch, params = setup(task)
    mesh = make_mesh(sizes)
    state = new_state(params)
    places = shardings(PARTITION_RULES, mesh, state)
    state = jax.device_put(state, places)
    batch = jax.device_put(batch, batch_sharding(mesh))
    step = make_train_step(objective, OPTIMIZER, num_microbatches=2)
    step = jax.jit(step, donate_argnums=0, out_shardings=(places, replicated(mesh)))
    return step.lower(state, batch).compile(), state, batch


@pytest.mark.parametrize("task", ["sft", "dpo"])
@pytest.mark.parametrize("sizes", MESHES, ids=str)
def test_every_mesh_makes_the_single_device_update(task, sizes):
    """Fault 2, with a real model: devices that share the rows change the update."""
    compiled, state, batch = on_mesh(task, sizes)
    assert_same_update(task, *compiled(state, batch))
    if sizes == {"data": 8}:
        # Neither the microbatches nor the chunks of the unembedding move a row.
        text = compiled.as_text() or ""
        assert "all-reduce(" in text
        assert "all-gather(" not in text
        assert "all-to-all(" not in text


@pytest.mark.parametrize("task", ["sft", "dpo"])
def test_pmap_makes_the_single_device_update(task):
    objective, batch, params = setup(task)
    step = make_train_step(objective, OPTIMIZER, num_microbatches=2, axis_name="data")
    shards = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), batch)
    mapped = jax.pmap(step, "data", in_axes=(None, 0), out_axes=None)
    assert_same_update(task, *mapped(new_state(params), shards))
