"""One task of jaxalign, measured in this process; prints one JSON line.

    python -m experiments.benchmarks.ours --task sft --shape A

Batches, microbatches, objective and step are made as the recipes make them.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxalign
from experiments.benchmarks import shapes
from experiments.benchmarks.clock import Laps, arguments, report_updates
from experiments.benchmarks.ids import Row, updates_of
from experiments.benchmarks.model_config import model_config_of
from jaxalign.data.packing.batches import permutation
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.losses import dpo_loss, sft_loss
from jaxalign.models import (
    PARTITION_RULES,
    Transformer,
    init_params,
    param_shapes,
)
from jaxalign.objectives import (
    bind,
    bind_token_loss,
    token_statistics,
)
from jaxalign.parallel import make_mesh, shardings
from jaxalign.recipes import reference
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.packed import Packed, pack_rows
from jaxalign.recipes.policy import Policy, backbone_of
from jaxalign.recipes.program import mesh_program
from jaxalign.recipes.rows import Rows
from jaxalign.training import OptimizerConfig, TrainState, make_optimizer
from jaxalign.training.host_memory import keep_freed_memory


def policy_of(shape: shapes.Shape, config: TrainingConfig) -> Policy:
    model_config = model_config_of(shape)
    model = Transformer(
        model_config,
        dtype=jnp.dtype(config.dtype),
        remat=config.remat,
        attention=config.attention,
    )
    mesh = make_mesh(dataclasses.asdict(config.mesh))
    program = mesh_program(mesh)
    return Policy(Path(), model_config, model, backbone_of(model), mesh, program)


def examples_of(updates: list[list[Row]], seed: int) -> list[Example]:
    """Examples whose shuffle by `seed` is the given order."""
    rows = [row for update in updates for row in update]
    examples: list[Any] = [None] * len(rows)
    for row, index in zip(rows, permutation(len(rows), seed, 0), strict=True):
        sequences = tuple(
            TokenSequence(np.asarray(ids, np.int32), np.arange(len(ids)) >= prompt)
            for ids, prompt in row
        )
        examples[index] = Example(int(index), sequences)
    return examples


def random_params(policy: Policy, key: jax.Array):
    places = shardings(PARTITION_RULES, policy.mesh, param_shapes(policy.config))
    init = functools.partial(init_params, policy.model)
    return jax.jit(init, out_shardings=places)(key)


def with_reference(
    config: TrainingConfig, policy: Policy, packed: Packed, params
) -> Packed:
    """The batches, every example scored once by the parameters as they are."""
    stats = token_statistics(policy.backbone, chunk_size=config.chunk_size)
    program = policy.program
    scorer = program.map(lambda params, rows: stats(params, rows).logps)
    logps = reference.score_batches(
        lambda params, rows: program.rows(scorer(params, rows)),
        params,
        packed.train.one_epoch(),
        lambda batch: program.place(batch.tokens),
    )
    return packed._replace(train=packed.train.with_columns(ref_logps=logps))


def config_of(args, batch_size: int) -> TrainingConfig:
    """The recipes' settings, defaults unless told otherwise."""
    optimizer = OptimizerConfig(
        learning_rate=shapes.LEARNING_RATE, max_grad_norm=shapes.MAX_GRAD_NORM
    )
    named = ("remat", "chunk_size", "microbatch_size")
    changes = {k: v for k in named if (v := getattr(args, k)) is not None}
    return TrainingConfig(
        model="",
        data="",
        output_dir="",
        batch_size=batch_size,
        optimizer=optimizer,
        **changes,
    )


def objective_of(policy: Policy, config: TrainingConfig, *, preference: bool):
    """What is minimised, with the recipes' unembedding."""
    if not preference:
        return bind_token_loss(sft_loss, policy.backbone, chunk_size=config.chunk_size)
    options: dict[str, Any] = {"beta": shapes.DPO_BETA}
    return bind(dpo_loss, policy.backbone, chunk_size=config.chunk_size, **options)


def timed(update, packed: Packed) -> tuple[Laps, float, list[list[int]]]:
    """Laps of all updates but the first; seconds of those that compile; row shapes.

    One update of each shape is made beforehand, so that no lap holds a compilation.
    """
    laps, compiled = Laps(), []
    for i in range(len(packed.train)):
        shape = list(packed.train[i].tokens.inputs.shape)
        if shape not in compiled:
            compiled.append(shape)
            update(i)
    laps.lap()
    compile_s = laps.drop(1)
    laps.start()
    for i in range(1, len(packed.train)):
        update(i)
        laps.lap()
    return laps, compile_s, compiled


def measure(args):
    keep_freed_memory()
    shape = shapes.SHAPES[args.shape]
    updates = updates_of(args.task, shape, args.rows, args.steps)
    preference = len(updates[0][0]) == 2
    config = config_of(args, len(updates[0]))
    policy = policy_of(shape, config)
    program = policy.program
    rows = Rows(examples_of(updates, config.seed), [], {})
    packed = pack_rows(config, rows, devices=program.row_devices)
    optimizer, _ = make_optimizer(config.optimizer, len(updates))
    key = jax.random.key(config.seed)
    params = random_params(policy, key)
    reference_s = 0.0
    if preference:
        scoring = Laps()
        packed = with_reference(config, policy, packed, params)
        scoring.lap()
        reference_s = scoring.drop(1)
    objective = objective_of(policy, config, preference=preference)
    create = functools.partial(TrainState.create, optimizer=optimizer, key=key)
    state = policy.start(create, params)
    del params
    step = program.train(objective, optimizer, packed.microbatch_size)
    losses = []

    def update(i: int):
        nonlocal state
        batch = program.place(packed.train[i])
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"].value))

    laps, compile_s, row_shapes = timed(update, packed)
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
        reference_s=reference_s,
        row_shapes=row_shapes,
        settings=f"{packed.microbatch_size} rows at a time at most, remat "
        f"{config.remat}, chunks of {config.chunk_size}",
    )


def main():
    parser = arguments(__doc__)
    parser.add_argument("--remat", help="in place of the default")
    parser.add_argument("--chunk-size", type=int, help="in place of the default")
    parser.add_argument("--microbatch-size", type=int, help="in place of the default")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
