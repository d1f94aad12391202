"""What every training recipe does, from settings to the exported model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from jaxalign.data.batches import Batches, BatchIterator
from jaxalign.data.pack import pad_fraction
from jaxalign.data.tokenizer import Tokenizer
from jaxalign.models import export_model
from jaxalign.objectives import Objective
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.model_card import model_card
from jaxalign.recipes.policy import Policy, open_policy
from jaxalign.recipes.program import Program, mesh_program, pmap_program
from jaxalign.recipes.reference import weights_digest
from jaxalign.recipes.rows import Rows, Task, make_encoder, read_rows
from jaxalign.recipes.samples import Samples
from jaxalign.training import (
    Checkpoints,
    Clock,
    Finished,
    MetricsLog,
    Progress,
    RunFolder,
    StopRequest,
    draw_plots,
    make_evaluate,
    make_mirrors,
    make_optimizer,
    read_metrics,
    restore_or_start,
    train,
)
from jaxalign.training.exits import FINISHED
from jaxalign.training.host_memory import keep_freed_memory
from jaxalign.training.versions import versions

MICROBATCH_TOKENS = 2048
FREE = ("output_dir", "resume", "allow_change", "save_steps", "keep_last", "report_to")
"""Settings that an interrupted run may change without a word."""


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
    """

    config: TrainingConfig
    console: Console
    policy: Policy
    tokenizer: Tokenizer
    rows: Rows
    program: Program
    fingerprints: dict[str, str]


class Method(NamedTuple):
    """What one method adds to a training run.

    Attributes:
      name: As the model card says it.
      task: The kind of rows that it reads.
      main_metric: The number that tells how it does, for the progress line.
      objective: From the model to what is minimised.
      to_batch: From a host batch to the objective's argument.
      prepare: What must be computed with the model as it was, before training.
    """

    name: str
    task: Task
    main_metric: str
    objective: Callable[[Policy], Objective]
    to_batch: Callable[[Any], Any]
    prepare: "Callable[[Run, Any, Path, Plan], Plan]"


class Plan(NamedTuple):
    """The batches of a run.

    Attributes:
      batches: The updates, in order.
      held_out: What is evaluated, or None.
      complete: From a batch on the devices to the same with what the step needs.
      microbatch_size: Rows that a device computes at a time.
    """

    batches: Batches
    held_out: Batches | None
    complete: Callable[[Any], Any]
    microbatch_size: int


def open_run(config: TrainingConfig, task: Task) -> Run:
    """Reads the model's description and all rows; no weight is loaded yet."""
    console = Console()
    policy = open_policy(
        config.model,
        dtype=config.dtype,
        remat=config.remat,
        attention=config.attention,
        parallel=config.parallel,
        mesh_sizes=dataclasses.asdict(config.mesh),
    )
    encoder = make_encoder(config, policy.folder, policy.config.vocab_size)
    tokenizer = encoder.tokenizer
    rows = read_rows(config, task, encoder, config.seed, console)
    pmap = config.parallel == "pmap"
    program = pmap_program() if pmap else mesh_program(policy.mesh)
    fingerprints = {
        "model": weights_digest(policy.folder),
        "tokenizer": tokenizer.fingerprint,
        **rows.fingerprints,
    }
    return Run(config, console, policy, tokenizer, rows, program, fingerprints)


def plan_batches(run: Run) -> Plan:
    """The updates of the run, and the held-out rows in batches of the same size."""
    c, devices = run.config, run.program.row_devices
    epochs = c.num_train_epochs
    if c.max_steps is not None:
        epochs = c.max_steps * c.batch_size / len(run.rows.train)

    def at_a_time(tokens: int) -> int:
        return devices * (c.microbatch_size or max(1, MICROBATCH_TOKENS // tokens))

    common: dict[str, Any] = {
        "batch_size": c.batch_size,
        "packing": c.packing,
        "row_multiple": devices,
    }
    batches = Batches(
        run.rows.train,
        seed=c.seed,
        num_epochs=epochs,
        row_length=c.row_length,
        rows_at_a_time=at_a_time,
        **common,
    )
    held_out = None
    if run.rows.held_out:
        held_out = Batches(run.rows.held_out, shuffle=False, **common)
    rows = at_a_time(batches.plan.shapes[-1].tokens) // devices
    return Plan(batches, held_out, lambda batch: batch, rows)


def run_training(config: TrainingConfig, method: Method) -> int:
    """Trains a model as `config` says; returns the exit code."""
    clock = Clock()
    keep_freed_memory()
    with StopRequest() as stop:
        run = open_run(config, method.task)
        plan = plan_batches(run)
        _tell(run, plan)
        if config.dry_run:
            return FINISHED
        with RunFolder(
            config.output_dir,
            config=dataclasses.asdict(config),
            fingerprints=run.fingerprints,
            resume=config.resume,
            allow_change=config.allow_change,
            free=FREE,
        ) as folder:
            done = _train(run, plan, method, folder, stop, clock)
            folder.finished(done.step, done.exit_code)
    return done.exit_code


def _tell(run: Run, plan: Plan) -> None:
    shapes = plan.batches.plan
    run.console.print(
        f"{len(plan.batches)} updates of {run.config.batch_size} examples in rows of "
        f"{', '.join(str(x.tokens) for x in shapes.shapes)} tokens; rows per update: "
        f"{', '.join(map(str, shapes.row_counts))}; {plan.microbatch_size} rows a "
        f"device at a time on {run.program.row_devices} devices",
        highlight=False,
    )


def _train(run: Run, plan: Plan, method: Method, folder: RunFolder, stop, clock):
    c, program, policy = run.config, run.program, run.policy
    num_steps = len(plan.batches)
    optimizer, schedule = make_optimizer(c.optimizer, num_steps)
    with clock.phase("init"):
        params = policy.load()
        plan = method.prepare(run, params, folder.path, plan)
    settings = dataclasses.asdict(c)
    mirrors = make_mirrors(c.report_to, folder.path, folder.path.name, settings)
    metrics = MetricsLog(folder.path / "metrics.jsonl", mirrors)
    checkpoints = Checkpoints(
        folder.path / "checkpoints",
        keep_last=c.keep_last,
        about={"versions": versions(), "fingerprints": run.fingerprints},
    )
    key = jax.random.key(c.seed)
    with clock.phase("restore"):
        target = policy.shapes(optimizer, key)
        state, host = restore_or_start(folder, checkpoints, metrics, target)
    if host is None:
        state = policy.start(params, optimizer, key)
    del params
    samples = _samples(run, folder.path)
    if host is None:
        samples.show(state.params, 0)
    objective = method.objective(policy)

    def place(batch):
        return plan.complete(program.place(method.to_batch(batch)))

    def draw(step):
        del step
        draw_plots(metrics.path, folder.path / "plots")

    with Progress(num_steps, main_metric=method.main_metric) as progress:
        done = train(
            program.train(objective, optimizer, plan.microbatch_size),
            program.spread(state),
            lambda start: BatchIterator(plan.batches, start=start),
            num_steps=num_steps,
            place=place,
            metrics=metrics,
            stop=stop,
            checkpoints=checkpoints,
            host=host,
            evaluate=_evaluate(run, plan, objective, place, stop),
            after_evaluation=draw,
            learning_rate=schedule,
            host_metrics=lambda x: {"data/pad_fraction": pad_fraction(x)},
            steps_per_epoch=len(run.rows.train) / c.batch_size,
            save_steps=c.save_steps,
            eval_steps=c.eval_steps,
            logging_steps=c.logging_steps,
            clock=clock,
            progress=progress,
            whole=program.whole,
        )
    metrics.close()
    if done.exit_code == FINISHED:
        _finish(
            run, method, folder.path, program.whole(done.state).params, samples, done
        )
    return done


def _samples(run: Run, folder: Path) -> Samples:
    shown = (run.rows.held_out or run.rows.train)[: run.config.samples]
    return Samples(
        run.policy.model,
        run.tokenizer,
        shown,
        max_new_tokens=run.config.max_new_tokens,
        folder=folder / "completions",
        console=run.console,
    )


def _evaluate(run: Run, plan: Plan, objective, place, stop):
    held_out = plan.held_out
    if held_out is None:
        return None
    return make_evaluate(
        run.program.evaluate(objective),
        lambda: (held_out[i] for i in range(len(held_out))),
        place=place,
        key=jax.random.key(run.config.seed),
        stop=stop,
    )


def _finish(run: Run, method: Method, folder: Path, params, samples, done: Finished):
    samples.show(params, done.step)
    draw_plots(folder / "metrics.jsonl", folder / "plots")
    lines = [x for x in read_metrics(folder / "metrics.jsonl") if x["split"] == "eval"]
    results = {k: v for k, v in lines[-1].items() if k != "split"} if lines else {}
    settings = dataclasses.asdict(run.config)
    card = model_card(method.name, settings, results, versions())
    (folder / "README.md").write_text(card, encoding="utf-8")
    export = folder / "export"
    if run.config.export and not export.exists():
        source = run.policy.folder
        export_model(export, run.policy.config, params, source=source, card=card)
        run.console.print(f"the model is in {export}")
