"""A step on a mesh is compiled once, however its state was made."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxalign import rl
from jaxalign.errors import UserError
from jaxalign.losses import LossOutput
from jaxalign.models import logits
from jaxalign.ops import Mean
from jaxalign.rl.devices import jitted_step
from jaxalign.rl.state import RLState
from jaxalign.training import TrainState, make_train_step
from tests.rollout.models_under_test import MODEL, params

OPTIMIZER = optax.sgd(1e-2, momentum=0.9)


@contextlib.contextmanager
def compilations():
    """A list that grows by one for each program that is compiled."""
    found = []

    def listen(event, *_, **__):
        if event.endswith("backend_compile_duration"):
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def over(mesh, *axes):
    return NamedSharding(mesh, PartitionSpec(*axes))


@pytest.fixture
def mesh():
    if jax.device_count() < 8:
        pytest.skip("needs eight devices")
    return jax.sharding.Mesh(np.array(jax.devices()[:8]), ("data",))


def squares(params, batch, key):
    error = (batch["x"] @ params["w"] + params["b"][None] - batch["y"]) ** 2
    return LossOutput(Mean(error.sum(), jnp.float32(error.size)), {})


@pytest.mark.parametrize("kind", ["jit", "own"])
def test_second_step_is_the_first_ones_program(mesh, kind):
    places = {"w": over(mesh, "data"), "b": over(mesh)}
    weights = {"w": np.ones((16, 4), np.float32), "b": np.ones(4, np.float32)}
    given = jax.device_put(weights, places)
    state = TrainState.create(given, OPTIMIZER, jax.random.key(0))
    rows = {"x": np.ones((8, 16), np.float32), "y": np.ones((8, 4), np.float32)}
    batch = jax.device_put(rows, over(mesh, "data"))
    if kind == "jit":
        step = jax.jit(make_train_step(squares, OPTIMIZER), donate_argnums=0)
    else:
        step = jitted_step(squares, OPTIMIZER)
    state, _ = step(state, batch)
    with compilations() as found:
        for _ in range(3):
            state, _ = step(state, batch)
    assert not found
    assert int(state.step) == 4
    assert state.params["w"].sharding.is_equivalent_to(places["w"], 2)


def test_state_lies_on_the_mesh_of_its_parameters(mesh):
    given = jax.device_put({"w": np.ones((16, 4), np.float32)}, over(mesh, "data"))
    state = RLState.create(given, OPTIMIZER, jax.random.key(0), kl_coef=0.5)
    assert state.params["w"] is given["w"]
    for leaf in jax.tree.leaves(state):
        assert leaf.sharding.mesh == mesh
    assert float(state.control.kl_coef) == 0.5


def test_state_of_plain_arrays_stays_where_it_is():
    state = TrainState.create({"w": jnp.ones(3)}, OPTIMIZER, jax.random.key(0))
    for leaf in jax.tree.leaves(state):
        assert len(leaf.sharding.device_set) == 1


def test_state_can_be_made_within_jit(mesh):
    given = jax.device_put({"w": np.ones((16, 4), np.float32)}, over(mesh, "data"))
    make = jax.jit(lambda p: TrainState.create(p, OPTIMIZER, jax.random.key(0)))
    assert int(make(given).step) == 0


def test_iteration_on_a_mesh_compiles_once(mesh):
    """The second iteration runs the first one's programs."""
    start = jax.device_put(params(), over(mesh))
    iterate = rl.make_iteration(
        functools.partial(logits, MODEL),
        algorithm=rl.rloo(),
        reward=lambda completions: [float(len(x.ids)) for x in completions],
        optimizer=OPTIMIZER,
        sampling=rl.Sampling(4, num_generations=4),
    )
    state = iterate.start(start, jax.random.key(0))
    prompts = [[1, 2], [4, 5], [7, 3]]
    state, _ = iterate(state, prompts)
    with compilations() as found:
        state, _ = iterate(state, prompts)
    assert not found


def test_explicit_axes_are_told_what_to_do():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    start = jax.device_put(params(), over(mesh))
    iterate = rl.make_iteration(
        functools.partial(logits, MODEL),
        algorithm=rl.rloo(),
        reward=lambda completions: [1.0 for _ in completions],
        optimizer=OPTIMIZER,
        sampling=rl.Sampling(4, num_generations=4),
    )
    with pytest.raises(UserError, match=r"AxisType\.Auto"):
        iterate(iterate.start(start, jax.random.key(0)), [[1, 2], [4, 5], [7, 3]])
