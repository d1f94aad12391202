"""What every training recipe does, from settings to the exported model."""

import jax

from jaxalign.data.packing.batches import BatchIterator
from jaxalign.data.packing.pack import pad_fraction
from jaxalign.losses import TwoPass
from jaxalign.models import ChatTexts, export_model
from jaxalign.os_errors import naming
from jaxalign.recipes.chat_texts import chat_texts, keep_template
from jaxalign.recipes.config import TrainingConfig
from jaxalign.recipes.method import Method, Plan, Run, Shown, open_run, plan_batches
from jaxalign.recipes.run_files import (
    export_place,
    open_files,
    open_folder,
    write_card,
)
from jaxalign.recipes.stopping import ended_on_request, tell_start
from jaxalign.training import (
    Clock,
    Finished,
    Progress,
    RunFolder,
    StopRequest,
    chaos,
    make_optimizer,
    restore_or_start,
    train,
)
from jaxalign.training.exits import FINISHED
from jaxalign.training.host_memory import keep_freed_memory


def run_training(config: TrainingConfig, method: Method) -> int:
    """Trains a model as `config` says; returns the exit code."""
    clock = Clock()
    keep_freed_memory()
    with StopRequest() as stop, ended_on_request(stop) as ending:
        with stop.at_once():
            chaos.at("load")
            run = open_run(config, method, stop)
            method.check(run)
            plan = plan_batches(run, read_ends=method.read_ends)
            _tell(run, plan)
        if config.dry_run:
            return FINISHED
        with open_folder(config, run.fingerprints) as folder:
            stop.on_leaving(folder.leave)
            done = _train(run, plan, method, folder, stop, clock)
            folder.finished(done.step, done.exit_code)
            ending.tell(done, len(plan.batches))
    return ending.exit_code


def _tell(run: Run, plan: Plan) -> None:
    shapes = plan.batches.plan
    run.console.print(
        f"{len(plan.batches)} updates of {run.config.batch_size} examples in rows of "
        f"{', '.join(str(x.tokens) for x in shapes.shapes)} tokens; rows per update: "
        f"{', '.join(map(str, shapes.row_counts))}; {plan.microbatch_size} rows a "
        f"device at a time at most, on {run.program.row_devices} devices",
        highlight=False,
    )


def _train(run: Run, plan: Plan, method: Method, folder: RunFolder, stop, clock):
    c, program, policy = run.config, run.program, run.policy
    num_steps = len(plan.batches)
    optimizer, schedule = make_optimizer(c.optimizer, num_steps)
    key = jax.random.key(c.seed)
    objective = method.objective(policy)
    memory = objective.memory if isinstance(objective, TwoPass) else ()
    with stop.at_once():
        with clock.phase("init"):
            params = policy.load(key)
            plan = method.prepare(run, params, folder.path, plan)
        metrics, checkpoints, draw = open_files(folder.path, c, run.fingerprints)
        with clock.phase("restore"):
            target = policy.shapes(optimizer, key, memory)
            state, host = restore_or_start(folder, checkpoints, metrics, target)
        if host is None:
            state = policy.start(params, optimizer, key, memory)
        del params
        tell_start(run.console, folder, host, int(state.step), num_steps)
        keep_template(folder.path, _chat(run))
        samples = method.samples(run, folder.path)
        if host is None:
            samples.show(state.params, 0)

    def place(batch):
        return plan.complete(program.place(batch))

    step = program.train(objective, optimizer, plan.microbatch_size, plan.frozen)
    with Progress(num_steps, main_metric=method.main_metric) as progress:
        done = train(
            method.around(run, plan, clock, step),
            program.spread(state),
            lambda start: BatchIterator(plan.batches, start=start),
            num_steps=num_steps,
            place=place,
            metrics=metrics,
            stop=stop,
            checkpoints=checkpoints,
            host=host,
            evaluate=method.evaluate(run, plan, objective, place, stop, folder.path),
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
        with stop.at_once():
            params = program.whole(done.state).params
            _finish(run, method, folder, params, samples, done)
    return done


def _chat(run: Run) -> ChatTexts:
    given = run.config.chat_template
    return chat_texts(run.tokenizer, run.policy.config.vocab_size, given)


def _finish(
    run: Run, method: Method, folder: RunFolder, params, samples: Shown, done: Finished
):
    samples.show(params, done.step)
    scores = method.head == "score"
    card = write_card(folder.path, method.name, run.config, scores=scores)
    export = export_place(folder, run.config, done.step, run.console)
    if export is not None:
        out, source = method.finish(run, params), run.policy.folder
        with naming(export):
            export_model(
                export,
                out.config,
                out.params,
                source=source,
                card=card,
                pad=out.pad,
                chat=_chat(run),
            )
        folder.export_written(done.step)
        run.console.print(f"the model is in {export}", highlight=False)
