"""One task of jaxalign, measured in this process; prints one JSON line.

    python -m experiments.benchmarks.ours --task sft --shape A

Rows are packed, scored and trained on by the library's public parts, with the settings
that the commands have by default.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxalign
from experiments.benchmarks import shapes
from experiments.benchmarks.clock import Laps, arguments, report_updates
from experiments.benchmarks.ids import Row, updates_of
from experiments.benchmarks.model_config import model_config_of
from jaxalign.data.packing.batches import Batches
from jaxalign.data.packing.order import permutation
from jaxalign.data.packing.pack import unpack_targets
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.losses import dpo_loss, sft_loss
from jaxalign.models import (
    PARTITION_RULES,
    Transformer,
    backbone_of,
    init_params,
)
from jaxalign.objectives import bind, bind_token_loss, token_statistics
from jaxalign.parallel import make_mesh, shardings
from jaxalign.parallel.program import Program, mesh_program
from jaxalign.training import OptimizerConfig, TrainState, make_optimizer
from jaxalign.training.host_memory import keep_freed_memory

SEED = 0
MICROBATCH_TOKENS = 2048  # of a device, as the commands have it


class Machine(NamedTuple):
    """A model of random weights on all devices."""

    model: Transformer
    mesh: jax.sharding.Mesh
    program: Program

    def sharded(self, make, *given):
        """What a function makes of its arguments, born in its sharding."""
        places = shardings(PARTITION_RULES, self.mesh, jax.eval_shape(make, *given))
        return jax.jit(make, out_shardings=places)(*given)

    def random_params(self, key: jax.Array):
        return self.sharded(functools.partial(init_params, self.model), key)


def machine_of(
    shape: shapes.Shape, remat: str = "dots", dtype: str = "float32"
) -> Machine:
    model = Transformer(model_config_of(shape), remat=remat, dtype=jnp.dtype(dtype))
    mesh = make_mesh({"fsdp": -1})
    return Machine(model, mesh, mesh_program(mesh))


def examples_of(updates: list[list[Row]]) -> list[Example]:
    """Examples whose shuffle is the given order."""
    rows = [row for update in updates for row in update]
    examples: list[Any] = [None] * len(rows)
    for row, index in zip(rows, permutation(len(rows), SEED, 0), strict=True):
        sequences = tuple(
            TokenSequence(np.asarray(ids, np.int32), np.arange(len(ids)) >= prompt)
            for ids, prompt in row
        )
        examples[index] = Example(int(index), sequences)
    return examples


def with_reference(batches: Batches, logps, machine: Machine, params) -> Batches:
    """The batches, every example scored once by the parameters as they are."""
    program, found = machine.program, {}
    scorer = program.map(logps)
    for batch in batches.one_epoch():
        scores = scorer(params, program.place(batch.tokens))
        found |= unpack_targets(batch, program.rows(scores))
    return batches.with_columns(ref_logps=found)


def timed(update, batches: Batches) -> tuple[Laps, float, list[list[int]]]:
    """Laps of all updates but the first; seconds of those that compile; row shapes.

    One update of each shape is made beforehand, so that no lap holds a compilation.
    """
    laps, compiled = Laps(), []
    for i in range(len(batches)):
        shape = list(batches[i].tokens.inputs.shape)
        if shape not in compiled:
            compiled.append(shape)
            update(i)
    laps.lap()
    compile_s = laps.drop(1)
    laps.start()
    for i in range(1, len(batches)):
        update(i)
        laps.lap()
    return laps, compile_s, compiled


class Work(NamedTuple):
    """Training on some updates, all in place.

    Attributes:
      batches: The updates, packed.
      update: Makes update number i, and returns its loss.
      microbatch_size: Rows that a device computes at a time.
      reference_s: Seconds that scoring the reference took.
    """

    batches: Batches
    update: Callable[[int], float]
    microbatch_size: int
    reference_s: float


def work_of(
    machine: Machine,
    updates: list[list[Row]],
    *,
    chunk_size: int = 512,
    microbatch_size: int | None = None,
) -> Work:
    """Packs rows, scores the reference of pairs, and places state and step."""
    program, backbone = machine.program, backbone_of(machine.model)

    def at_a_time(tokens: int) -> int:
        return microbatch_size or max(1, MICROBATCH_TOKENS // tokens)

    batches = Batches(
        examples_of(updates),
        batch_size=len(updates[0]),
        seed=SEED,
        row_multiple=program.row_devices,
        rows_at_a_time=lambda tokens: program.row_devices * at_a_time(tokens),
    )
    rows_of_a_part = at_a_time(batches.plan.shapes[-1].tokens)
    config = OptimizerConfig(
        learning_rate=shapes.LEARNING_RATE, max_grad_norm=shapes.MAX_GRAD_NORM
    )
    optimizer, _ = make_optimizer(config, len(updates))
    key = jax.random.key(SEED)
    params = machine.random_params(key)
    chunks: Any = {"chunk_size": chunk_size}
    reference_s = 0.0
    if len(updates[0][0]) == 2:
        scoring, statistics = Laps(), token_statistics(backbone, **chunks)
        batches = with_reference(
            batches, lambda p, rows: statistics(p, rows).logps, machine, params
        )
        scoring.lap()
        reference_s = scoring.drop(1)
        objective = bind(dpo_loss, backbone, beta=shapes.DPO_BETA, **chunks)
    else:
        objective = bind_token_loss(sft_loss, backbone, **chunks)
    create = functools.partial(TrainState.create, optimizer=optimizer, key=key)
    state = machine.sharded(create, params)
    del params
    step = program.train(objective, optimizer, rows_of_a_part)

    def update(i: int) -> float:
        nonlocal state
        state, metrics = step(state, program.place(batches[i]))
        return float(metrics["loss"].value)

    return Work(batches, update, rows_of_a_part, reference_s)


def measure(args):
    keep_freed_memory()
    shape = shapes.SHAPES[args.shape]
    updates = updates_of(args.task, shape, args.rows, args.steps)
    work = work_of(
        machine_of(shape, args.remat),
        updates,
        chunk_size=args.chunk_size,
        microbatch_size=args.microbatch_size,
    )
    losses: list[float] = []
    laps, compile_s, row_shapes = timed(
        lambda i: losses.append(work.update(i)), work.batches
    )
    report_updates(
        laps,
        updates,
        args,
        lib="jaxalign",
        version=jaxalign.__version__,
        jax=jax.__version__,
        first_loss=losses[0],
        last_loss=losses[-1],
        first_step_s=compile_s,
        reference_s=work.reference_s,
        row_shapes=row_shapes,
        settings=f"{work.microbatch_size} rows at a time at most, remat {args.remat}, "
        f"chunks of {args.chunk_size}",
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--remat", default="dots")
    parser.add_argument("--chunk-size", type=int, default=512)
    parser.add_argument("--microbatch-size", type=int, help="in place of 2,048 tokens")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
