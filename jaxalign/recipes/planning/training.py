"""The programs of a run that learns from rows."""

import importlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from rich.console import Console

from jaxalign.batch import Batch
from jaxalign.data.text.example import Example, TokenSequence
from jaxalign.errors import UserError
from jaxalign.losses import TwoPass
from jaxalign.objectives import token_statistics
from jaxalign.parallel import batch_sharding
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.loss_flags import find_loss, reads
from jaxalign.recipes.method import Method, Run, plan_batches
from jaxalign.recipes.planning.formulas import forward_flops, train_flops
from jaxalign.recipes.planning.program import Planned
from jaxalign.recipes.policy import Policy, open_policy
from jaxalign.recipes.program import program_of
from jaxalign.recipes.rows import Rows
from jaxalign.training import StopRequest, make_optimizer

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


def training_programs(
    name: str, config: TrainingConfig, devices: list[Any]
) -> list[Planned]:
    """The step of `jaxalign NAME`, and the reference's scorer where there is one.

    Shapes are those of a batch in which every sequence has `max_length` tokens.
    """
    method: Method = importlib.import_module(f"jaxalign.recipes.{name}").method_of(
        config
    )
    policy = open_policy(
        config.model, head=method.head, devices=devices, **config.layout
    )
    program = program_of(config.parallel, policy.mesh)
    examples = examples_for(config, method.task, policy.config.vocab_size)
    rows = method.arrange(Rows(examples, [], {}))
    tokenizer: Any = None
    console, stop = Console(quiet=True), StopRequest()
    run = Run(config, console, policy, tokenizer, rows, program, {}, stop)
    plan = plan_batches(run, read_ends=method.read_ends)
    host = plan.batches[0]
    scores_ref = getattr(config, "ref", None) in ("cached", "online")
    if scores_ref:
        nothing = np.zeros(host.tokens.target_ids.shape, np.float32)
        host = host.with_tokens(ref_logps=nothing)
    batch = placed(host, policy.mesh)
    optimizer, _ = make_optimizer(config.optimizer, 1000)
    objective = method.objective(policy)
    memory = objective.memory if isinstance(objective, TwoPass) else ()
    key = jax.random.key(0)
    state = policy.shapes(optimizer, key, memory)
    frozen = _frozen(name, config, policy, devices)
    step = program.train(objective, optimizer, plan.microbatch_size, frozen)
    table = shape_of(host, policy, plan.microbatch_size)
    planned = [
        Planned(
            name="train step",
            lower=lambda: step.lower(state, batch),
            flops=train_flops(policy.config, *work_of(host, policy)),
            reads=_bytes(state, policy) * 2,
            grows=GROWS,
            **table,
        )
    ]
    if scores_ref:
        stats = token_statistics(policy.backbone, chunk_size=config.chunk_size)
        score = program.map(lambda params, rows: stats(params, rows).logps)
        shapes = policy.param_shapes()
        whole = len(host.tokens.target_ids) // program.row_devices
        planned.append(
            Planned(
                name="reference scorer",
                lower=lambda: score.lower(shapes, batch.tokens),
                flops=forward_flops(policy.config, *work_of(host, policy)),
                reads=_bytes(shapes, policy),
                grows=("--batch-size: all rows of a batch are scored at a time",),
                **{**table, "rows": whole},
            )
        )
    return planned


def examples_for(config: TrainingConfig, task: str, vocab: int) -> list[Example]:
    """A batch of examples whose sequences have `max_length` tokens each."""
    length = config.max_length
    prompt = min(config.max_prompt_length or max(1, length // 4), length - 1)
    trained = np.arange(length) >= (1 if task == "sft" else prompt)
    count = _SEQUENCES.get(task, 1)
    sequence = TokenSequence(np.ones(length, np.int32), trained)
    # Completions must differ from each other behind a prompt that they share.
    others = [
        TokenSequence(np.where(trained, (k + 2) % vocab, 1).astype(np.int32), trained)
        for k in range(count - 1)
    ]
    labels = {name: np.ones(count, np.float32) for name in _LABELS[task]}
    return [Example(i, (sequence, *others), labels) for i in range(config.batch_size)]


def placed(batch: Any, mesh: jax.sharding.Mesh) -> Any:
    """A host batch as shapes on the mesh."""
    place = batch_sharding(mesh)

    def one(x) -> jax.ShapeDtypeStruct:
        kind = jax.dtypes.canonicalize_dtype(np.asarray(x).dtype)
        return jax.ShapeDtypeStruct(np.shape(x), kind, sharding=place)

    return jax.tree.map(one, batch)


def shape_of(host: Batch, policy: Policy, rows: int) -> dict:
    """What reports say of a program's arguments."""
    count, tokens = host.tokens.inputs.shape
    targets = host.tokens.target_ids.shape[1]
    tensor = policy.mesh.shape["tensor"]
    rows = min(rows, max(1, count // (policy.mesh.size // tensor)))
    return {
        "rows": rows,
        "tokens": tokens,
        "targets": targets,
        "vocab": policy.config.vocab_size // tensor,
        "args": f"{count} rows of {tokens} tokens with {targets} targets, "
        f"{rows} a device at a time",
    }


def work_of(host: Batch, policy: Policy) -> tuple:
    """Tokens, targets and keys of a token, of one device."""
    count, tokens = host.tokens.inputs.shape
    each = count / policy.mesh.size
    return each * tokens, each * host.tokens.target_ids.shape[1], tokens / 2


def _bytes(tree: Any, policy: Policy) -> float:
    leaves = (x for x in jax.tree.leaves(tree) if hasattr(x.dtype, "itemsize"))
    return sum(x.size * x.dtype.itemsize for x in leaves) / policy.mesh.size


def _frozen(name: str, config: Any, policy: Policy, devices: list[Any]) -> Any:
    """The models that an objective reads beside what is trained."""
    if name == "distill":
        teacher = open_policy(config.teacher, devices=devices, **config.layout)
        return teacher.param_shapes()
    if name == "dpo" and reads(find_loss(config.loss), "kl"):
        return policy.param_shapes()
    return None


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
