"""A step on its devices: the same pure functions under a mesh or under pmap."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxalign.losses import LossFn, Objective
from jaxalign.ops import Layout, Mean, laid_out
from jaxalign.parallel import ACTIVATIONS, batch_sharding, replicated
from jaxalign.training import TrainState, make_eval_step, make_train_step
from jaxalign.training.compiled_step import CompiledStep

AXIS = "data"
_CPU_OPTIONS: Any = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}
"""By default XLA on CPUs fills the layers' gradients with zeros before all else."""


class Program(NamedTuple):
    """How pure functions run on the devices at hand.

    Attributes:
      row_devices: Over how many devices the rows of a batch are split.
      replicate: From one copy of a state or of parameters to how they are trained.
      unreplicate: The reverse, for checkpoints and export.
      place: From a host batch, a tree of arrays with rows first, to the devices.
      rows: From an output with rows first to a host array `[R, ...]`.
      map: Compiles a function `(params, batch) -> output with rows first`.
      train: From objective and optimizer to a compiled step that consumes its state.
      evaluate: From objective to a compiled `(params, batch, key, carry) ->
        {name: Mean}`. Both may be told how many rows a device computes at a time.
        Both may be given arrays that stay as they are, replicated like parameters: the
        objective then takes the pair of its parameters and these.
    """

    row_devices: int
    replicate: Callable[[Any], Any]
    unreplicate: Callable[[Any], Any]
    place: Callable[[Any], Any]
    rows: Callable[[jax.Array], np.ndarray]
    map: Callable[[Callable], Callable]
    train: Callable[..., Callable[[TrainState, Any], tuple[TrainState, dict]]]
    evaluate: Callable[..., Callable[..., Mapping[str, Mean]]]


def program_of(parallel: str, mesh: jax.sharding.Mesh) -> Program:
    """The program that `--parallel` names; `pmap` needs no mesh."""
    return pmap_program() if parallel == "pmap" else mesh_program(mesh)


def mesh_program(mesh: jax.sharding.Mesh) -> Program:
    """`jit` over a mesh: rows are split, state lies as the partition rules say."""
    devices = mesh.shape["data"] * mesh.shape["fsdp"]
    layout = Layout.of(mesh, ACTIVATIONS)
    on_cpu = mesh.devices.flat[0].platform == "cpu"

    def train(
        objective: Objective | LossFn,
        optimizer: optax.GradientTransformation,
        microbatch_size: int | None = None,
        frozen: Any = None,
    ):
        # Of all devices, as `jit` sees rows; under pmap below it is of one.
        size = microbatch_size and microbatch_size * devices

        # `frozen` is an argument: closed over, it would be a constant of the program.
        def step(state, batch, frozen):
            bound = _beside(objective, frozen)
            train_step = make_train_step(bound, optimizer, microbatch_size=size)
            with laid_out(layout):
                return train_step(state, batch)

        return CompiledStep(
            step,
            frozen,
            metrics=replicated(mesh),
            compiler_options=_CPU_OPTIONS if on_cpu else None,
        )

    def evaluate(
        objective: Objective | LossFn,
        microbatch_size: int | None = None,
        frozen: Any = None,
    ):
        size = microbatch_size and microbatch_size * devices

        def step(params, batch, key, carry, frozen):
            bound = _beside(objective, frozen)
            eval_step = make_eval_step(bound, microbatch_size=size)
            with laid_out(layout):
                return eval_step(params, batch, key, carry)

        compiled = jax.jit(step)
        return lambda *arrays: compiled(*arrays, frozen)

    def compile_map(fn):
        def mapped(*arrays):
            with laid_out(layout):
                return fn(*arrays)

        return jax.jit(mapped)

    return Program(
        row_devices=devices,
        replicate=lambda tree: tree,
        unreplicate=lambda tree: tree,
        place=lambda batch: _on_devices(batch, batch_sharding(mesh)),
        rows=np.asarray,
        map=compile_map,
        train=train,
        evaluate=evaluate,
    )


def pmap_program() -> Program:
    """`pmap`: every device holds the whole state and its share of the rows."""
    devices = jax.local_devices()
    # pmap takes arrays whose first axis has an entry for each device.
    copies = jax.sharding.NamedSharding(
        jax.sharding.Mesh(np.array(devices), (AXIS,)), jax.sharding.PartitionSpec(AXIS)
    )

    def replicate(tree):
        stacked = jax.tree.map(lambda x: jnp.stack([x] * len(devices)), tree)
        return jax.device_put(stacked, copies)

    def place(batch):
        def cut(x):
            return np.reshape(x, (len(devices), -1, *x.shape[1:]))

        return _on_devices(jax.tree.map(cut, batch), copies)

    def train(
        objective: Objective | LossFn,
        optimizer: optax.GradientTransformation,
        microbatch_size: int | None = None,
        frozen: Any = None,
    ):
        def step(state, batch, frozen):
            bound = _beside(objective, frozen)
            options: Any = {"microbatch_size": microbatch_size, "axis_name": AXIS}
            return make_train_step(bound, optimizer, **options)(state, batch)

        compiled = jax.pmap(step, axis_name=AXIS, donate_argnums=0)

        def run(state, batch):
            state, metrics = compiled(state, batch, frozen)
            # They are sums over all devices, so every entry is the same.
            return state, _first(metrics)

        return run

    def evaluate(
        objective: Objective | LossFn,
        microbatch_size: int | None = None,
        frozen: Any = None,
    ):
        def step(params, batch, key, carry, frozen):
            bound = _beside(objective, frozen)
            options: Any = {"microbatch_size": microbatch_size, "axis_name": AXIS}
            return make_eval_step(bound, **options)(params, batch, key, carry)

        compiled = jax.pmap(step, axis_name=AXIS, in_axes=(0, 0, None, 0, 0))
        return lambda *arrays: _first(compiled(*arrays, frozen))

    return Program(
        row_devices=len(devices),
        replicate=replicate,
        unreplicate=_first,
        place=place,
        rows=lambda x: np.asarray(x).reshape(-1, *x.shape[2:]),
        map=lambda fn: jax.pmap(fn, axis_name=AXIS),
        train=train,
        evaluate=evaluate,
    )


def _beside(objective: Objective | LossFn, frozen: Any) -> Objective:
    """The objective as a function of what is trained alone."""
    given = Objective.of(objective)
    if frozen is None:
        return given
    loss, measure = given.loss, given.measure
    return dataclasses.replace(
        given,
        loss=lambda params, *rest: loss((params, frozen), *rest),
        measure=measure and (lambda params, *rest: measure((params, frozen), *rest)),
    )


def _on_devices(batch, sharding: jax.sharding.NamedSharding):
    placed = jax.device_put(batch, sharding)
    on_cpu = all(device.platform == "cpu" for device in sharding.device_set)
    # There, a program runs where it is called only if all that it reads has come.
    return jax.block_until_ready(placed) if on_cpu else placed


def _first(tree):
    return jax.tree.map(lambda x: x[0], tree)
