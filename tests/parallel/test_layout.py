"""Where arrays lie in the compiled step on eight devices, and what travels when."""

import functools
import math

import jax
import numpy as np
import pytest

from jaxalign.models import PARTITION_RULES
from jaxalign.parallel import batch_sharding, make_mesh, replicated, shardings
from jaxalign.parallel.hlo import HloProgram
from tests.parallel.tasks import state_of, step_on, task_of
from tests.tiny import make_model

# No two sizes are equal, so that a shape tells what an array is.
ROWS, LENGTH, TARGETS, V, WIDTH = 16, 28, 20, 48, 40
LAYERS, HEADS, HEAD_DIM, INNER = 2, 4, 8, 80


@functools.cache
def compiled(name, rows=ROWS, **sizes):
    """The program of a step with a microbatch of one row for each device."""
    model = make_model(V, WIDTH, tie_embeddings=False).clone(remat="full")
    task = task_of(name, model, rows, LENGTH, TARGETS, chunk_size=8)
    mesh = make_mesh(sizes, jax.devices()[: math.prod(sizes.values())])
    state = state_of(task.params)
    places = shardings(PARTITION_RULES, mesh, state)

    def as_shape(x, place):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    state = jax.tree.map(as_shape, state, places)
    split = batch_sharding(mesh)
    batch = jax.tree.map(lambda x: as_shape(np.asarray(x), split), task.batch)
    parts = rows // (sizes.get("data", 1) * sizes.get("fsdp", 1))
    step = jax.jit(
        step_on(mesh, task.objective, num_microbatches=parts),
        donate_argnums=0,
        out_shardings=(places, replicated(mesh)),
    )
    return HloProgram(step.lower(state, batch).compile().as_text() or "")


def shapes(program):
    return {x.shape for x in program.arrays}


def inside(program, name):
    return [c for c in program.collectives if any(name in x for x in c.loops)]


MESHES = [{"fsdp": 8}, {"data": 2, "fsdp": 2, "tensor": 2}]
CASES = [("sft", MESHES[0]), ("dpo", MESHES[1])]


@pytest.mark.parametrize(("task", "sizes"), CASES, ids=str)
def test_a_device_holds_its_own_rows_at_their_whole_width(task, sizes):
    """Left to guess, the compiler gives every device all rows and a part of the width.

    The numbers are right then, and a pod has no memory for them.
    """
    program = compiled(task, **sizes)
    found = {x.shape for x in program.arrays_in("Transformer")}
    assert (1, LENGTH, WIDTH) in found, "the residual stream of a device's own row"
    together = sizes.get("fsdp", 1)
    for rows in (2, 4, 8, ROWS):
        for width in (WIDTH, WIDTH // together):
            assert (rows, LENGTH, width) not in found
            assert (LAYERS, rows, LENGTH, width) not in shapes(program)
        # Between devices that look up each other's rows, only part of the width goes.
        assert (rows, LENGTH, WIDTH) not in shapes(program)


def test_devices_of_a_sequence_hold_parts_of_it_and_exchange_them_for_heads():
    """Half of the positions of each row, and in attention half of its heads."""
    program = compiled("sft", fsdp=4, sequence=2)
    found = {x.shape for x in program.arrays_in("Transformer")}
    half = LENGTH // 2
    assert (1, half, WIDTH) in found, "the residual stream"
    assert (1, LENGTH, WIDTH) not in found
    for inner in (half * INNER, LENGTH * INNER):
        sizes = {math.prod(shape) for shape in found}
        assert (inner in sizes) == (inner == half * INNER)
    # What is kept of each layer for the way back.
    assert (LAYERS, 1, LENGTH, WIDTH) not in shapes(program)
    exchanged = {
        math.prod(x.shape)
        for c in program.collectives
        if c.kind == "all-to-all"
        for x in c.arrays
    }
    assert exchanged, "positions for heads"
    assert not inside(program, "chunks")


@pytest.mark.parametrize(("task", "sizes"), CASES, ids=str)
def test_chunks_of_the_unembedding_wait_for_nobody(task, sizes):
    program = compiled(task, **sizes)
    assert not inside(program, "chunks")
    vocab = V // sizes.get("tensor", 1)
    assert (8, vocab) in shapes(program), "a chunk has as many positions of one device"
    gathers = [
        c
        for c in program.collectives
        if c.kind == "all-gather" and (vocab, WIDTH) in {x.shape for x in c.arrays}
    ]
    # For the statistics, and maybe again for their gradient, made afterwards.
    assert 1 <= len(gathers) <= (1 if task == "sft" else 2)
    # Each device keeps its part of the gradient, cut along either axis.
    parts = {(vocab, WIDTH // sizes["fsdp"]), (vocab // sizes["fsdp"], WIDTH)}
    sums = [
        c
        for c in program.collectives
        if c.kind in ("reduce-scatter", "all-reduce")
        and ({(vocab, WIDTH)} | parts) & {x.shape for x in c.arrays}
    ]
    assert {c.kind for c in sums} >= {"reduce-scatter"}


@pytest.mark.parametrize(("task", "sizes"), CASES, ids=str)
def test_weights_are_gathered_a_layer_at_a_time(task, sizes):
    program = compiled(task, **sizes)
    kernels = {
        (LAYERS, WIDTH, INNER),
        (LAYERS, INNER, WIDTH),
        (LAYERS, WIDTH, HEADS * HEAD_DIM),
        (LAYERS, HEADS * HEAD_DIM, WIDTH),
    }
    tensor = sizes.get("tensor", 1)
    whole = kernels | {(n, i // tensor, o) for n, i, o in kernels}
    whole |= {(n, i, o // tensor) for n, i, o in kernels}
    assert not whole & shapes(program)
    layers = [
        c for c in program.collectives if any("Transformer" in x for x in c.loops)
    ]
    assert any(c.kind == "all-gather" for c in layers)
    assert all(c.times % LAYERS == 0 for c in layers)


def test_what_is_sent_does_not_grow_with_the_devices():
    """At one row for each device; the gathers of parameters are as large as they."""

    def sent(program):
        kinds = ("all-to-all", "all-gather", "all-reduce", "reduce-scatter")
        return sum(c.nbytes * c.times for c in program.collectives if c.kind in kinds)

    small = sent(compiled("sft", rows=ROWS // 4, fsdp=2))
    large = sent(compiled("sft", fsdp=8))
    assert large < 1.1 * small
