"""A real transformer's update is the same on every mesh, in every kind of training."""

import functools

import chex
import jax
import pytest

from jaxalign.models import PARTITION_RULES
from jaxalign.parallel import batch_sharding, make_mesh, replicated, shardings
from jaxalign.training import make_train_step
from tests.parallel.tasks import OPTIMIZER, TASKS, state_of, step_on, task_of
from tests.tiny import make_model

ROWS, LENGTH, TARGETS, V = 16, 16, 12, 32
MESHES = [
    {"data": 8},
    {"fsdp": 8},
    {"fsdp": 4, "tensor": 2},
    {"data": 2, "fsdp": 2, "tensor": 2},
    {"fsdp": 4, "sequence": 2},
    {"data": 2, "sequence": 2, "tensor": 2},
]
# What differs from task to task is how statistics and scores are read: not the layers.
CHEAP = [("sft", MESHES[1]), ("dpo", MESHES[5])]
ALL = [(task, sizes) for task in TASKS for sizes in MESHES]
CASES = [
    pytest.param(
        *case,
        id=f"{case[0]}-{case[1]}",
        marks=[] if case in CHEAP else pytest.mark.slow,
    )
    for case in ALL
]


@functools.cache
def setup(name):
    return task_of(name, make_model(V), ROWS, LENGTH, TARGETS, chunk_size=8)


@functools.cache
def single_device_update(name):
    objective, batch, params = setup(name)
    state, metrics = jax.jit(make_train_step(objective, OPTIMIZER))(
        state_of(params), batch
    )
    return jax.device_get((state.params, metrics))


def assert_same_update(name, state, metrics):
    got = jax.device_get((state.params, metrics))
    expected = single_device_update(name)
    chex.assert_trees_all_close(got, expected, rtol=5e-4, atol=5e-5)


def on_mesh(name, sizes):
    """The step, compiled, with its state and batch in their places."""
    objective, batch, params = setup(name)
    mesh = make_mesh(sizes)
    state = state_of(params)
    places = shardings(PARTITION_RULES, mesh, state)
    state = jax.device_put(state, places)
    batch = jax.device_put(batch, batch_sharding(mesh))
    step = jax.jit(
        step_on(mesh, objective, num_microbatches=2),
        donate_argnums=0,
        out_shardings=(places, replicated(mesh)),
    )
    return step.lower(state, batch).compile(), state, batch


@pytest.mark.parametrize(("task", "sizes"), CASES)
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


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, marks=() if task == "sft" else pytest.mark.slow)
        for task in TASKS
    ],
)
def test_pmap_makes_the_single_device_update(task):
    assert_same_update(task, *on_pmap(task))


def on_pmap(task):
    """State and metrics after a step on eight devices that all hold the whole state."""
    objective, batch, params = setup(task)
    step = make_train_step(objective, OPTIMIZER, num_microbatches=2, axis_name="data")
    shards = jax.tree.map(lambda x: x.reshape(8, -1, *x.shape[1:]), batch)
    mapped = jax.pmap(step, "data", in_axes=(None, 0), out_axes=None)
    return mapped(state_of(params), shards)
