"""A step on its devices: the same pure function under a mesh or under pmap."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxalign.objectives import Objective
from jaxalign.ops import Mean
from jaxalign.parallel import batch_sharding, replicated
from jaxalign.training import TrainState, make_eval_step, make_train_step

AXIS = "data"


class Program(NamedTuple):
    """What a training loop calls.

    Attributes:
      spread: A state in one copy to the state as it is trained.
      whole: The reverse, for checkpoints and export.
      place: A host batch to the devices.
      step: `(state, batch) -> (state, metrics)`; consumes the state.
      evaluate: `(state, host batches) -> {name: Mean}` on the host.
    """

    spread: Callable[[TrainState], TrainState]
    whole: Callable[[TrainState], TrainState]
    place: Callable[[Mapping[str, np.ndarray]], Any]
    step: Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]
    evaluate: Callable[[TrainState, Iterable], dict[str, Mean]]


def row_devices(parallel: str, mesh: jax.sharding.Mesh) -> int:
    """Over how many devices the rows of a batch are split."""
    if parallel == "pmap":
        return jax.local_device_count()
    return mesh.shape["data"] * mesh.shape["fsdp"]


def mesh_program(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    to_batch: Callable[[Mapping[str, Any]], Any],
    mesh: jax.sharding.Mesh,
    microbatch_size: int | None = None,
) -> Program:
    """`jit` over a mesh: rows and state lie as the partition rules say.

    Args:
      objective: What is minimised.
      optimizer: The update rule.
      to_batch: From a host batch to the objective's.
      mesh: The devices.
      microbatch_size: Rows that a device computes at a time; all by default.
    """
    rows = batch_sharding(mesh)
    size = microbatch_size and microbatch_size * row_devices("mesh", mesh)
    step = make_train_step(objective, optimizer, microbatch_size=size)
    compiled = None

    def place(arrays):
        return jax.device_put(to_batch(arrays), rows)

    def run(state, batch):
        nonlocal compiled
        if compiled is None:
            # Pinned: left to itself XLA may move a leaf, and compile anew for it.
            places = jax.tree.map(lambda x: x.sharding, state), replicated(mesh)
            compiled = jax.jit(step, donate_argnums=0, out_shardings=places)
        return compiled(state, batch)

    score = jax.jit(make_eval_step(objective))

    def evaluate(state, batches):
        key = jax.random.fold_in(state.key, state.step)
        return _total(score(state.params, place(x), key) for x in batches)

    return Program(lambda state: state, lambda state: state, place, run, evaluate)


def pmap_program(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    to_batch: Callable[[Mapping[str, Any]], Any],
    microbatch_size: int | None = None,
) -> Program:
    """`pmap`: every device holds the whole state and its share of the rows.

    Args:
      objective: What is minimised.
      optimizer: The update rule.
      to_batch: From a host batch to the objective's.
      microbatch_size: Rows that a device computes at a time; all by default.
    """
    devices = jax.local_devices()
    copies = jax.sharding.NamedSharding(
        jax.sharding.Mesh(np.array(devices), (AXIS,)), jax.sharding.PartitionSpec(AXIS)
    )
    step = jax.pmap(
        make_train_step(
            objective, optimizer, microbatch_size=microbatch_size, axis_name=AXIS
        ),
        axis_name=AXIS,
        donate_argnums=0,
    )
    score = jax.pmap(make_eval_step(objective, axis_name=AXIS), axis_name=AXIS)

    def spread(state):
        return jax.device_put(
            jax.tree.map(lambda x: jnp.stack([x] * len(devices)), state), copies
        )

    def place(arrays):
        def cut(x):
            return np.reshape(x, (len(devices), -1, *x.shape[1:]))

        return jax.device_put(jax.tree.map(cut, to_batch(arrays)), copies)

    def run(state, batch):
        state, metrics = step(state, batch)
        return state, _first(metrics)

    def evaluate(state, batches):
        return _total(
            _first(score(state.params, place(batch), state.key)) for batch in batches
        )

    return Program(spread, _first, place, run, evaluate)


def _first(tree):
    return jax.tree.map(lambda x: x[0], tree)


def _total(parts: Iterable[dict[str, Mean]]) -> dict[str, Mean]:
    """The sum over batches, fetched at the end so that no batch waits for the host."""
    parts = [*parts]
    first, *rest = jax.device_get(parts)
    for part in rest:
        first = {name: first[name] + mean for name, mean in part.items()}
    return first
