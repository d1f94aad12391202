"""The programs of a run that samples, scores and learns."""

import functools
import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from jaxalign.batch import Batch
from jaxalign.data.packing.completions import CompletionRows, completion_layouts
from jaxalign.data.packing.pack import fill
from jaxalign.recipes.inputs.packed import rows_at_a_time
from jaxalign.recipes.planning.formulas import forward_flops, train_flops
from jaxalign.recipes.planning.program import Planned, bytes_on_device
from jaxalign.recipes.planning.training import GROWS, placed, within_context
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.parts import plan_completion_rows, row_options
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.recipes.scoring.scorer import score_fn_of
from jaxalign.rl import Algorithm, Sampling, make_iteration
from jaxalign.rollout import Decoder, steps
from jaxalign.rollout.prompts import bucket_width
from jaxalign.rollout.waiting import BLOCK_TOKENS
from jaxalign.training import TrainState, make_optimizer

_SAMPLED = (
    "--generation-batch-size samples fewer completions at a time",
    "--max-new-tokens",
    "--mesh.tensor splits heads and the vocabulary",
)


def sampling_programs(name: str, config: RLConfig, devices: list[Any]) -> list[Planned]:
    """Prefill, decoding, the scorer and the update of `jaxalign NAME`.

    Shapes are those of prompts and completions that together have `max_length` tokens.
    """
    command = importlib.import_module(f"jaxalign.recipes.{name}")
    algorithm: Algorithm = getattr(command, f"{name}_algorithm")(config)
    policy = open_policy(config.model, devices=devices, **config.layout)
    config = within_context(config, policy.config)
    critic = command.open_critic(config, devices) if algorithm.has_critic else None
    decoder = policy.decoder()
    longest = config.max_length - config.max_new_tokens
    params: Any = policy.param_shapes()
    if critic is not None:
        params = {"policy": params, "critic": critic.param_shapes()}
    # Any number of steps: where a schedule ends changes no program.
    optimizer, _ = make_optimizer(config.optimizer, 1000)
    create = functools.partial(
        TrainState.create, optimizer=optimizer, key=jax.random.key(0)
    )
    state = policy.shapes(create, params)
    # The reference stays where it is for the whole run.
    ref = reference_shapes(policy, config) if algorithm.reference else None
    return [
        *_sampling(config, policy, decoder, longest, (state, ref)),
        *_learning(config, algorithm, policy, critic, optimizer, state, ref),
    ]


def _sampling(
    config: RLConfig, policy: Policy, decoder: Decoder, longest: int, kept: Any
) -> list[Planned]:
    mesh, model = policy.mesh, policy.config
    total = config.batch_size * config.num_generations
    rows = decoder.whole_rows(config.generation_batch_size or total)
    # The last token is never read, and needs no place.
    slots = bucket_width(config.max_length - 1)
    shapes = policy.param_shapes()
    prepared = with_layout(steps.prepare, decoder, shapes)
    width = bucket_width(max(1, longest - 1))
    block = decoder.whole_rows(
        max(1, min(-(-rows // config.num_generations), BLOCK_TOKENS // width))
    )
    whole = NamedSharding(mesh, PartitionSpec())

    def shape(*sizes: int, dtype: Any = jnp.int32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, dtype, sharding=whole)

    cache = with_layout(steps.empty, decoder, rows, slots)
    # What `prepared` shares with the state is an argument of the programs already.
    beside = bytes_on_device(kept) - _not_copied(shapes, prepared)

    def lower_decode() -> Any:
        running = shape(rows, dtype=jnp.bool_)
        state = steps.SlotRows._make([*[shape(rows)] * 5, running])
        scalar = shape(dtype=jnp.float32)
        # Room for 8 stop tokens; their number changes nothing of the program's size.
        limits = steps.Limits(scalar, scalar, shape(), shape(), shape(8))
        settings = steps.Settings(steps.STEPS, False, None, False)
        key = jax.eval_shape(lambda: jax.random.key(0))
        key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
        return steps.decode.lower(
            decoder, settings, prepared, cache, state, limits, key, shape()
        )

    each = rows / mesh.size
    weights, slot_bytes = bytes_on_device(prepared), bytes_on_device(cache)
    # A step of decoding has the logits of one token of each row.
    table: dict[str, Any] = {"vocab": 0, "width": model.hidden_size, "grows": _SAMPLED}
    return [
        Planned(
            name="prefill",
            lower=lambda: steps.prefill.lower(decoder, prepared, shape(block, width)),
            # A token of a causal row sees half of the row on average.
            flops=forward_flops(model, block * width / mesh.size, 0, width / 2),
            reads=weights,
            rows=max(1, block // decoder.row_parts),
            tokens=width,
            targets=1,
            args=f"{block} prompts of {width} tokens",
            # The cache that what it makes is copied into.
            beside=beside + slot_bytes,
            **table,
        ),
        Planned(
            name="decode",
            lower=lower_decode,
            # Over all steps a cache is half full on average.
            flops=steps.STEPS * forward_flops(model, each, each, slots / 2),
            reads=steps.STEPS * (weights + slot_bytes),
            rows=max(1, rows // decoder.row_parts),
            tokens=1,
            targets=1,
            args=f"{rows} completions in caches of {slots} tokens, {steps.STEPS} steps",
            beside=beside,
            **table,
        ),
    ]


def _not_copied(params: Any, prepared: Any) -> int:
    """Bytes of what sampling takes as it is, without a copy in another type."""
    if jax.tree.structure(params) != jax.tree.structure(prepared):
        # Nothing is known to be shared, which plans for more memory and not for less.
        return 0
    pairs = zip(jax.tree.leaves(params), jax.tree.leaves(prepared), strict=True)
    return bytes_on_device([old for old, new in pairs if old.dtype == new.dtype])


def _learning(
    config: RLConfig,
    algorithm: Algorithm,
    policy: Policy,
    critic: Policy | None,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    ref: Any,
) -> list[Planned]:
    mesh, devices = policy.mesh, policy.row_devices
    longest = config.max_length - config.max_new_tokens
    rows = plan_completion_rows(config, algorithm, longest, devices)
    iteration = make_iteration(
        policy.backbone,
        algorithm=algorithm,
        reward=(),  # Nothing is scored.
        optimizer=optimizer,
        sampling=Sampling(
            config.max_new_tokens, config.num_generations, config.temperature
        ),
        critic=None if critic is None else score_fn_of(critic.model),
        ref_params=ref,
        **row_options(config, policy, rows),
    )
    updates, count = iteration.updates, max(rows.counts)
    score: Any = updates.score  # compiled, as is the step
    step: Any = updates.step
    batch = rollout_shapes(algorithm, rows, count, mesh)
    scored = iteration.scored(state.params)
    tokens, targets = rows.shape.tokens, rows.shape.targets
    each = count / mesh.size
    work = each * tokens, each * targets, tokens / 2
    forward = forward_flops(policy.config, *work)
    others = 0.0 if critic is None else forward_flops(critic.config, *work)
    readers = 1 + algorithm.reference
    train = train_flops(policy.config, *work) + 3 * others
    at_a_time = min(rows_at_a_time(config, tokens), max(1, count // devices))
    table: dict[str, Any] = {
        "tokens": tokens,
        "targets": targets,
        "vocab": policy.config.vocab_size // mesh.shape["tensor"],
        "width": policy.config.hidden_size,
    }
    words = f"{count} rows of {tokens} tokens with {targets} targets"
    return [
        Planned(
            name="scorer",
            lower=lambda: score.lower(scored, batch.tokens),
            flops=readers * forward + others,
            reads=bytes_on_device(scored),
            rows=count // devices,
            args=words,
            grows=("--num-minibatches: as many rows are scored as an update has",),
            # It reads the parameters of the state, and nothing of the optimizer's.
            beside=bytes_on_device(state) - bytes_on_device(state.params),
            **table,
        ),
        Planned(
            name="update",
            lower=lambda: step.lower(state, batch),
            flops=train,
            # Read once, and written once.
            reads=2 * bytes_on_device(state),
            rows=at_a_time,
            args=f"{words}, {at_a_time} a device at a time",
            grows=GROWS,
            beside=bytes_on_device(ref),
            **table,
        ),
    ]


def reference_shapes(policy: Policy, config: RLConfig) -> Any:
    """The reference's parameters as shapes with shardings."""
    kept = jnp.dtype(config.ref_dtype)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, kept, sharding=x.sharding),
        policy.param_shapes(),
    )


def rollout_shapes(
    algorithm: Algorithm, rows: CompletionRows, count: int, mesh: jax.sharding.Mesh
) -> Batch:
    """The batch of an update, with the columns that credit makes."""
    one = np.ones((rows.together, 1), np.int32)
    example = completion_layouts([[0]], one, one[:, 0], together=rows.together)
    host = fill(example, [[0]], rows.shape, count)
    slots = np.zeros(host.tokens.target_ids.shape, np.float32)
    names = ["old_logps", "advantages"]
    names += ["ref_logps"] if algorithm.reference else []
    names += ["values", "returns"] if algorithm.has_critic else []
    names += ["weights"] if algorithm.weights is not None else []
    host = host.with_tokens(**dict.fromkeys(names, slots))
    return placed(host, mesh)


def with_layout(fn: Any, decoder: Decoder, *arguments: Any) -> Any:
    """What a compiled function of sampling returns, as shapes with their shardings."""
    compiled = fn.lower(decoder, *arguments).compile()
    shapes = fn.eval_shape(decoder, *arguments)
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        shapes,
        compiled.output_shardings,
    )
