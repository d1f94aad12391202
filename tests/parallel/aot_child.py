"""Compiles a tiny step for a machine that is not there, and prints what it found."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.models import PARTITION_RULES, Transformer
from jaxalign.parallel import batch_sharding, make_mesh, replicated, shardings
from jaxalign.parallel.hlo import HloProgram
from jaxalign.recipes.planning.topology import devices_of
from tests.parallel.tasks import state_of, step_on, task_of
from tests.tiny import make_model

LENGTH, TARGETS, VOCAB, WIDTH, LAYERS = 128, 96, 512, 256, 2


def main(name: str) -> None:
    devices = devices_of(name)
    config = make_model(VOCAB, WIDTH, tie_embeddings=False).config
    model = Transformer(config, dtype=jnp.bfloat16, remat="full")
    task = task_of("sft", model, len(devices), LENGTH, TARGETS, chunk_size=32)
    mesh = make_mesh({"fsdp": -1}, devices)
    state = state_of(task.params)
    places = shardings(PARTITION_RULES, mesh, state)

    def shape(x, place):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)

    state = jax.tree.map(shape, state, places)
    rows = batch_sharding(mesh)
    batch = jax.tree.map(lambda x: shape(np.asarray(x), rows), task.batch)
    step = jax.jit(
        step_on(mesh, task.objective),
        donate_argnums=0,
        out_shardings=(places, replicated(mesh)),
    )
    compiled = step.lower(state, batch).compile()
    program = HloProgram(compiled.as_text() or "")
    shapes = {x.shape for x in program.arrays}
    layers = {x.shape for x in program.arrays_in("Transformer")}
    count = len(devices)
    memory = compiled.memory_analysis()
    assert memory is not None

    def inside(loop):
        return [c for c in program.collectives if any(loop in x for x in c.loops)]

    found = {
        "own_row": (1, LENGTH, WIDTH) in layers,
        "all_rows": [
            x
            for x in layers
            if x in ((count, LENGTH, WIDTH), (count, LENGTH, WIDTH // count))
        ],
        "all_layers": [
            x
            for x in shapes
            if len(x) == 3
            and x[0] == LAYERS
            and WIDTH in x[1:]
            and config.intermediate_size in x[1:]
        ],
        "in_chunks": sum(
            any("chunks" in x for x in c.loops) for c in program.collectives
        ),
        "scattered_in_layers": any(
            c.kind in ("reduce-scatter", "collective-permute")
            for c in inside("Transformer")
        ),
        # Compilers for TPUs may report a size of temporaries that is 0, or too much.
        "held": memory.peak_memory_in_bytes - memory.argument_size_in_bytes,
        "sent": sum(c.nbytes * c.times for c in program.collectives),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
