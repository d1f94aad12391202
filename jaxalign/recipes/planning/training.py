"""The programs of a run that learns from rows."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxalign.batch import Batch
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError
from jaxalign.losses import Objective
from jaxalign.models.config import ModelConfig
from jaxalign.objectives import token_statistics
from jaxalign.parallel import batch_sharding
from jaxalign.recipes import distill, dpo, kto, reward, sft
from jaxalign.recipes.flags.config import TrainingConfig
from jaxalign.recipes.flags.loss_flags import find_loss
from jaxalign.recipes.inputs.packed import pack_rows
from jaxalign.recipes.inputs.rows import Rows
from jaxalign.recipes.planning.formulas import forward_flops, train_flops
from jaxalign.recipes.planning.program import Planned, bytes_on_device
from jaxalign.recipes.runs.policy import Policy, open_policy
from jaxalign.training import TrainState, make_optimizer

_SEQUENCES: Mapping[str, int] = {"preference": 2, "rankings": 4}
"""Completions to a prompt where a task has several."""
_LABELS = {
    "preference": ("margin", "win_rate"),
    "rankings": ("score",),
    "scored": ("score",),
    "unpaired": ("desirable",),
    "sft": (),
}
GROWS = (
    "--microbatch-size 1 computes fewer rows at a time",
    "--remat full keeps less of each layer",
    "--chunk-size holds fewer logits at a time",
    "--mesh.tensor splits matrices and heads",
    "--max-length or --row-length makes rows shorter",
)


def training_programs(name: str, config: Any, devices: list[Any]) -> list[Planned]:
    """The step of `jaxalign NAME`, and the reference's scorer where there is one.

    Shapes are those of a batch in which every sequence has `max_length` tokens.
    """
    scores = name == "reward"
    head = {"head": "score"} if scores else {}
    policy = open_policy(config.model, devices=devices, **head, **config.layout)
    config = within_context(config, policy.config)
    objective, frozen = _objective(name, config, policy, devices)
    examples = examples_for(config, task_of(name, config), policy.config.vocab_size)
    rows = Rows(examples, [], {})
    if name == "kto":
        rows = kto.mismatched(config, rows, config.max_length)
    packed = pack_rows(config, rows, devices=policy.row_devices, read_ends=scores)
    program, host = policy.program, packed.train[0]
    scores_ref = "ref" in objective.reads
    if scores_ref:
        nothing = np.zeros(host.tokens.target_ids.shape, np.float32)
        # In a run the scores of the reference are in the batch by now.
        host = host.with_tokens(ref_logps=nothing)
    batch = placed(host, policy.mesh)
    # Any number of steps: where a schedule ends changes no program.
    optimizer, _ = make_optimizer(config.optimizer, 1000)
    new = {"optimizer": optimizer, "key": jax.random.key(0), "carry": objective.carry}
    create = functools.partial(TrainState.create, **new)
    state = policy.shapes(create, policy.param_shapes())
    step: Any = program.train(objective, optimizer, packed.microbatch_size, frozen)
    table = shape_of(host, policy, packed.microbatch_size)
    shapes = policy.param_shapes()
    # Scored anew in each step, a batch needs the reference beside what is trained.
    online = scores_ref and getattr(config, "ref", "cached") == "online"
    planned = [
        Planned(
            name="train step",
            lower=lambda: step.lower(state, batch),
            flops=train_flops(policy.config, *work_of(host, policy)),
            # Read once, and written once.
            reads=bytes_on_device(state) * 2,
            grows=GROWS,
            beside=bytes_on_device(shapes) if online else 0,
            **table,
        )
    ]
    if scores_ref:
        stats = token_statistics(policy.backbone, chunk_size=config.chunk_size)
        score: Any = program.map(lambda params, rows: stats(params, rows).logps)
        whole = len(host.tokens.target_ids) // program.row_devices
        planned.append(
            Planned(
                name="reference scorer",
                lower=lambda: score.lower(shapes, batch.tokens),
                flops=forward_flops(policy.config, *work_of(host, policy)),
                reads=bytes_on_device(shapes),
                grows=("--batch-size: all rows of a batch are scored at a time",),
                beside=bytes_on_device(state) if online else 0,
                **{**table, "rows": whole},
            )
        )
    return planned


def task_of(name: str, config: Any) -> str:
    """What kind of rows the command reads."""
    if name == "dpo":
        return dpo.row_kind(find_loss(config.loss)).task
    if name == "reward":
        return reward.TASKS[config.loss]
    return "unpaired" if name == "kto" else "sft"


def _objective(
    name: str, config: Any, policy: Policy, devices: list[Any]
) -> tuple[Objective, Any]:
    """What is minimised, and the parameters that it reads beside what is trained."""
    if name == "distill":
        teacher = open_policy(config.teacher, devices=devices, **config.layout)
        objective = distill.make_distillation_objective(config, policy, teacher)
        return Objective.of(objective), teacher.param_shapes()
    make: Any = {
        "sft": sft.make_sft_objective,
        "dpo": dpo.make_preference_objective,
        "kto": kto.make_kto_objective,
        "reward": reward.make_reward_objective,
    }[name]
    objective = Objective.of(make(config, policy))
    return objective, policy.param_shapes() if "kl" in objective.reads else None


def within_context(config: Any, model: ModelConfig) -> Any:
    """The settings with rows no longer than the model reads, as a run makes them."""
    length = min(config.max_length, model.max_positions)
    return dataclasses.replace(config, max_length=length)


def examples_for(config: TrainingConfig, task: str, vocab: int) -> list[Example]:
    """A batch of examples whose sequences have `max_length` tokens each."""
    length = config.max_length
    # A quarter of the row, where the settings do not say how long prompts are.
    prompt = min(config.max_prompt_length or max(1, length // 4), length - 1)
    # Demonstrations may train all but the first token, which is the most to compute.
    trained = np.arange(length) >= (1 if task == "sft" else prompt)
    count = _SEQUENCES.get(task, 1)
    labels = {name: np.ones(count, np.float32) for name in _LABELS[task]}
    examples = []
    for i in range(config.batch_size):
        # Prompts differ from each other, and so do completions of one prompt.
        ids = np.full((count, length), i % vocab, np.int32)
        ids[:, prompt:] += np.arange(count, dtype=np.int32)[:, None]
        sequences = (TokenSequence(x % vocab, trained) for x in ids)
        examples.append(Example(i, tuple(sequences), labels))
    return examples


def placed(batch: Any, mesh: jax.sharding.Mesh) -> Any:
    """A host batch as shapes on the mesh."""
    place = batch_sharding(mesh)

    def one(x) -> jax.ShapeDtypeStruct:
        # What is int64 in NumPy is int32 on a device.
        kind = jax.dtypes.canonicalize_dtype(np.asarray(x).dtype)
        return jax.ShapeDtypeStruct(np.shape(x), kind, sharding=place)

    return jax.tree.map(one, batch)


def shape_of(host: Batch, policy: Policy, rows: int) -> dict:
    """What reports say of a program's arguments."""
    count, tokens = host.tokens.inputs.shape
    targets = host.tokens.target_ids.shape[1]
    tensor = policy.mesh.shape["tensor"]
    rows = min(rows, max(1, count // policy.row_devices))
    return {
        "rows": rows,
        "tokens": tokens,
        "targets": targets,
        "vocab": policy.config.vocab_size // tensor,
        "width": policy.config.hidden_size,
        "args": f"{count} rows of {tokens} tokens with {targets} targets, "
        f"{rows} a device at a time",
    }


def work_of(host: Batch, policy: Policy) -> tuple:
    """Tokens, targets and keys of a token, of one device."""
    count, tokens = host.tokens.inputs.shape
    each = count / policy.mesh.size
    return each * tokens, each * host.tokens.target_ids.shape[1], tokens / 2


def refuse_pmap(config: TrainingConfig) -> None:
    """Planning is for meshes.

    Raises:
      UserError: The settings say pmap.
    """
    if config.parallel == "pmap":
        raise UserError(
            "plan compiles for a mesh, and --parallel pmap copies the whole state to "
            "every device. Plan with --topology v5e:1x1 in its place: a device of a "
            "pmap holds what that one holds."
        )
