"""A run that samples, from settings to the exported model."""

import contextlib
import dataclasses
from typing import Any

import jax

from jaxalign.models import ChatTexts, export_model
from jaxalign.os_errors import naming
from jaxalign.recipes.chat_texts import chat_texts, keep_template
from jaxalign.recipes.rl.config import RLConfig
from jaxalign.recipes.rl.evaluate import make_reward_evaluation
from jaxalign.recipes.rl.iteration import Iteration
from jaxalign.recipes.rl.journal import Journal
from jaxalign.recipes.rl.method import Method
from jaxalign.recipes.rl.prompts import prompt_batches
from jaxalign.recipes.rl.sampling import Sampler
from jaxalign.recipes.rl.settle import make_settle
from jaxalign.recipes.rl.setup import Setup, open_setup
from jaxalign.recipes.rl.state import Start
from jaxalign.recipes.run_files import (
    export_place,
    open_run_files,
    open_run_folder,
    write_card,
)
from jaxalign.recipes.samples import ends_of
from jaxalign.recipes.stopping import ended_on_request, tell_start
from jaxalign.training import (
    Clock,
    Finished,
    Intervals,
    Progress,
    Record,
    RunFolder,
    StepResult,
    StopRequest,
    chaos,
    make_optimizer,
    restore_or_start,
    train,
)
from jaxalign.training.exits import FINISHED
from jaxalign.training.host_memory import keep_freed_memory

_EVALUATION = 0xE7A1


def run_rl(config: RLConfig, method: Method) -> int:
    """Trains a policy on its own answers; returns the exit code."""
    clock = Clock()
    keep_freed_memory()
    with StopRequest() as stop, ended_on_request(stop) as ending:
        with stop.at_once():
            chaos.at("load")
            setup = open_setup(config, method)
        with contextlib.closing(setup.score):
            if config.dry_run:
                return FINISHED
            with open_run_folder(config, setup.fingerprints) as folder:
                stop.on_leaving(folder.leave)
                setup.score.log_to(folder.path)
                done = _train(setup, folder, stop, clock)
                folder.finished(done.step, done.exit_code)
                ending.tell(done, setup.iterations)
    return ending.exit_code


def _train(setup: Setup, folder: RunFolder, stop: StopRequest, clock: Clock):
    c, models = setup.config, setup.models
    program, key = models.program, jax.random.key(c.seed)
    optimizer, schedule = make_optimizer(
        c.optimizer, setup.iterations * setup.updates_per_iteration
    )
    start = Start(optimizer, key, c.kl_coef, models.policy.mesh)
    with stop.at_once():
        with clock.phase("init"):
            params = models.load(key)
            reference = models.reference(params)
        metrics, checkpoints, draw = open_run_files(folder.path, c, setup.fingerprints)
        with clock.phase("restore"):
            target = start.shapes(params)
            state, host = restore_or_start(folder, checkpoints, metrics, target)
        if host is None:
            state = start.state(params)
        del params
        tell_start(setup.console, folder, host, int(state.step), setup.iterations)
    sampler = _sampler(setup, reference)
    keep_template(folder.path, _chat(setup))

    def policy(params):
        return program.unreplicate(models.policy_of(params))

    def rate(iteration):
        return schedule(iteration * setup.updates_per_iteration)

    iteration = Iteration(
        sampler=sampler,
        updates=setup.updates(optimizer),
        settle=make_settle(setup.method.rules),
        policy=policy,
        models=lambda params: models.scored(params, reference),
        journal=Journal(
            folder.path / "completions",
            setup.console,
            every=c.eval_steps,
            shown=c.samples,
        ),
        clock=clock,
        stop=stop,
        extra=lambda n: {
            "episode": n * c.batch_size * c.num_generations,
            "lr": float(rate(n - 1)),
        },
        patience=c.patience,
        stop_if_dead=c.on_dead_signal == "stop",
        max_clipped=c.max_clipped,
        around=setup.method.rules.around,
        largest=setup.method.rules.largest,
    )
    evaluate = make_reward_evaluation(
        dataclasses.replace(
            sampler,
            prompts=setup.prompts.held_out,
            informative=None,
            greedy=False,
            rival=None,
            num_generations=1,
        ),
        policy,
        batch_size=c.batch_size,
        key=jax.random.fold_in(key, _EVALUATION),
        stop=stop,
    )

    def advance(state, batch):
        state, metrics = iteration(state, batch)
        tokens, skipped = metrics.pop("num_tokens"), metrics.pop("skipped_steps", None)
        return state, StepResult(metrics, tokens, skipped)

    def unreplicate(state):
        return dataclasses.replace(state, inner=program.unreplicate(state.inner))

    with Progress(setup.iterations, main_metric="reward") as progress:
        record = Record(
            metrics,
            num_steps=setup.iterations,
            host=host,
            start=int(state.step),
            learning_rate=rate,
            steps_per_epoch=len(setup.prompts.train) / c.batch_size,
            logging_steps=c.logging_steps,
            after_evaluation=draw,
            clock=clock,
            progress=progress,
        )
        done = train(
            advance,
            dataclasses.replace(state, inner=program.replicate(state.inner)),
            lambda start: prompt_batches(
                start,
                size=len(setup.prompts.train),
                batch_size=c.batch_size,
                seed=c.seed,
            ),
            num_steps=setup.iterations,
            record=record,
            stop=stop,
            checkpoints=checkpoints,
            evaluate=evaluate,
            intervals=Intervals(c.save_steps, c.eval_steps),
            unreplicate=unreplicate,
        )
    metrics.close()
    if done.exit_code == FINISHED:
        with stop.at_once():
            _finish(setup, folder, policy(done.state.params), done)
    return done


def _sampler(setup: Setup, reference: Any) -> Sampler:
    c, method, models = setup.config, setup.method, setup.models
    rival = method.rival and method.rival(models)
    return Sampler(
        decoder=models.decoder,
        tokenizer=models.encoder.tokenizer,
        prompts=setup.prompts.train,
        score=setup.score,
        num_generations=c.num_generations,
        max_new_tokens=c.max_new_tokens,
        temperature=c.temperature,
        rows_at_a_time=c.generation_batch_size,
        seed=c.seed,
        greedy=method.greedy,
        informative=method.informative,
        max_refills=method.max_refills,
        ends=ends_of(models.encoder.tokenizer, c.stop),
        rival=rival,
        reference=rival and models.program.unreplicate(reference),
        keep_special=c.keep_special_tokens,
    )


def _chat(setup: Setup) -> ChatTexts:
    models = setup.models
    size, given = models.policy.config.vocab_size, setup.config.chat_template
    return chat_texts(models.encoder.tokenizer, size, given)


def _finish(setup: Setup, folder: RunFolder, params: Any, done: Finished) -> None:
    card = write_card(folder.path, setup.method.name, setup.config)
    export = export_place(folder, setup.config, done.step, setup.console)
    if export is not None:
        policy = setup.models.policy
        with naming(export):
            export_model(
                export,
                policy.config,
                params,
                source=policy.folder,
                card=card,
                chat=_chat(setup),
            )
        folder.export_written(done.step)
        setup.console.print(
            f"after {done.step} iterations the model is in {export}", highlight=False
        )
