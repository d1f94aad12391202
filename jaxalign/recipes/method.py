"""What a run is made of before its first step: model, rows, method, batches."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import jax
from rich.console import Console

from jaxalign.data.packing.batches import Batches
from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.models import ModelConfig, PadToken
from jaxalign.objectives import Objective
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.display import open_console
from jaxalign.recipes.policy import Policy, open_policy
from jaxalign.recipes.program import Program, program_of
from jaxalign.recipes.reference import weights_digest
from jaxalign.recipes.rows import Rows, TrainingTask, make_encoder, read_rows
from jaxalign.recipes.samples import Samples, decoder_of
from jaxalign.recipes.template_time import start_template_time
from jaxalign.training import Clock, StopRequest, make_evaluate
from jaxalign.training.evaluate import Evaluate

Step = Callable[[Any, Any], tuple[Any, dict]]
"""`(state, batch) -> (state, metrics)`."""
MICROBATCH_TOKENS = 2048


class Run(NamedTuple):
    """What stands before the first step.

    Attributes:
      config: The settings.
      console: Where people read.
      policy: The model.
      tokenizer: Of the model.
      rows: What it is trained and evaluated on.
      program: How functions run on the devices.
      fingerprints: Digests of model, tokenizer and data.
      stop: The request to stop; what samples or scores stands in `stop.at_once()`.
    """

    config: TrainingConfig
    console: Console
    policy: Policy
    tokenizer: Tokenizer
    rows: Rows
    program: Program
    fingerprints: dict[str, str]
    stop: StopRequest


class Plan(NamedTuple):
    """The batches of a run.

    Attributes:
      batches: The updates, in order.
      held_out: What is evaluated, or None.
      complete: From a batch on the devices to the same with what the step needs.
      microbatch_size: Rows that a device computes at a time.
      frozen: Arrays that the objective reads beside what is trained, or None.
    """

    batches: Batches
    held_out: Batches | None
    complete: Callable[[Any], Any]
    microbatch_size: int
    frozen: Any = None


class Outcome(NamedTuple):
    """What is exported.

    Attributes:
      config: Of the model.
      params: Its parameters.
      pad: For a scalar head: the token to pad with, or None.
    """

    config: ModelConfig
    params: Any
    pad: PadToken | None = None


class Shown(Protocol):
    """Something to look at, before and after training."""

    def show(self, params: Any, step: int) -> None:
        """Prints it for the parameters of a step, and keeps it in a file."""
        ...


def answers(run: Run, folder: Path) -> Shown:
    """Held-out prompts that the model answers."""
    shown = (run.rows.held_out or run.rows.train)[: run.config.samples]
    return Samples(
        decoder_of(run.policy.model, run.policy.mesh, tokenizer=run.tokenizer),
        run.tokenizer,
        shown,
        max_new_tokens=run.config.max_new_tokens,
        folder=folder / "completions",
        console=run.console,
    )


def held_out_means(
    run: Run, plan: Plan, objective: Objective, place, stop: StopRequest, folder: Path
) -> Evaluate | None:
    """The objective's means over the held-out rows; None if there are none."""
    del folder
    held_out = plan.held_out
    if held_out is None:
        return None
    return make_evaluate(
        run.program.evaluate(objective, plan.frozen),
        lambda: (held_out[i] for i in range(len(held_out))),
        place=place,
        key=jax.random.key(run.config.seed),
        stop=stop,
    )


class Method(NamedTuple):
    """What one method adds to a training run.

    Attributes:
      name: As the model card says it.
      task: The kind of rows that it reads.
      main_metric: The number that tells how it does, for the progress line.
      objective: From the model to what is minimised.
      prepare: What must be computed with the model as it was, before training.
      head: What is trained on top of the transformer.
      read_ends: Batches hold the end of each sequence, not its trained tokens.
      arrange: From the rows that were read to those that are laid out.
      check: Refuses rows and settings that do not fit, before any weight is loaded.
      folders: Of further models, by role; the run remembers their weights' digests.
      around: From the compiled step to the one that the loop calls.
      samples: What people see of the model before and after.
      evaluate: How it does on held-out rows.
      finish: From the trained parameters to what is exported.
    """

    name: str
    task: TrainingTask
    main_metric: str
    objective: Callable[[Policy], Objective]
    prepare: Callable[[Run, Any, Path, Plan], Plan] = lambda run, params, path, plan: (
        plan
    )
    head: Literal["unembed", "score"] = "unembed"
    read_ends: bool = False
    arrange: Callable[[Rows], Rows] = lambda rows: rows
    check: Callable[[Run], None] = lambda run: None
    folders: Mapping[str, Path] = {}
    around: Callable[[Run, Plan, Clock, Step], Step] = lambda run, plan, clock, step: (
        step
    )
    samples: Callable[[Run, Path], Shown] = answers
    evaluate: Callable[..., Evaluate | None] = held_out_means
    finish: Callable[[Run, Any], Outcome] = lambda run, params: Outcome(
        run.policy.config, params
    )


def open_run(config: TrainingConfig, method: Method, stop: StopRequest) -> Run:
    """Reads the model's description and all rows; no weight is loaded yet."""
    console = open_console()
    time = start_template_time(config)
    policy = open_policy(config.model, head=method.head, **config.layout)
    encoder = make_encoder(config, policy.folder, policy.config.vocab_size)
    tokenizer = encoder.tokenizer
    rows = read_rows(config, method.task, encoder, config.seed, console)
    rows = method.arrange(rows)
    program = program_of(config.parallel, policy.mesh)
    fingerprints = {
        "model": weights_digest(policy.folder),
        "tokenizer": tokenizer.fingerprint,
        **{role: weights_digest(folder) for role, folder in method.folders.items()},
        **rows.fingerprints,
        **time,
    }
    return Run(config, console, policy, tokenizer, rows, program, fingerprints, stop)


def rows_at_a_time(config: TrainingConfig, tokens: int) -> int:
    """Rows of so many tokens that a device computes at a time, at most."""
    return config.microbatch_size or max(1, MICROBATCH_TOKENS // tokens)


def plan_batches(run: Run, *, read_ends: bool = False) -> Plan:
    """The updates of the run, and the held-out rows in batches of the same size."""
    c, devices = run.config, run.program.row_devices
    epochs = c.num_train_epochs
    if c.max_steps is not None:
        epochs = c.max_steps * c.batch_size / len(run.rows.train)

    common: dict[str, Any] = {
        "batch_size": c.batch_size,
        "packing": c.packing,
        "read_ends": read_ends,
        "row_multiple": devices,
    }
    batches = Batches(
        run.rows.train,
        seed=c.seed,
        num_epochs=epochs,
        row_length=c.row_length,
        rows_at_a_time=lambda tokens: devices * rows_at_a_time(c, tokens),
        **common,
    )
    held_out = None
    if run.rows.held_out:
        held_out = Batches(run.rows.held_out, shuffle=False, **common)
    rows = rows_at_a_time(c, batches.plan.shapes[-1].tokens)
    return Plan(batches, held_out, lambda batch: batch, rows)
