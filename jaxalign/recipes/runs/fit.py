"""Training on rows: the state that a run begins or goes on with, and its steps."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxalign.data.packing.iterator import BatchIterator
from jaxalign.data.packing.pack import pad_fraction
from jaxalign.losses import LossFn, Objective
from jaxalign.recipes.inputs.packed import Packed, rows_at_a_time
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.run import Run
from jaxalign.training import (
    Intervals,
    Progress,
    Record,
    TrainState,
    make_evaluate,
    on_host_batches,
    train,
)
from jaxalign.training.evaluate import Evaluate
from jaxalign.training.optimizer import Schedule


def start_state(
    run: Run, policy: Policy, params: Any, optimizer, num_steps: int, carry: Any = ()
) -> TrainState:
    """The state of the newest checkpoint, or a new one; `params` are consumed."""
    new = {"optimizer": optimizer, "key": run.key, "carry": carry}
    create = functools.partial(TrainState.create, **new)
    return restore_or_create(run, policy, create, params, num_steps)


def restore_or_create(
    run: Run, policy: Policy, create: Callable[[Any], Any], params: Any, num_steps: int
) -> Any:
    """What the newest checkpoint holds, or what `create` makes of `params`.

    Args:
      run: Begun.
      policy: Whose rules say how it lies.
      create: From parameters to a state at step 0.
      params: Consumed.
      num_steps: Of the run.
    """
    # Shapes first: nothing is made for a state that a checkpoint has.
    state = run.restore(policy.shapes(create, params), num_steps)
    if state is None:
        return policy.start(create, params)
    # The caller still names them, and a resumed run has no room for a second model.
    for leaf in jax.tree.leaves(params):
        leaf.delete()
    return state


def held_out_means(
    run: Run,
    policy: Policy,
    objective: Objective | LossFn,
    packed: Packed,
    frozen: Any = None,
) -> Evaluate | None:
    """The objective's means over the held-out rows; None if there are none."""
    held_out = packed.held_out
    if held_out is None:
        return None
    program = policy.program
    size = rows_at_a_time(run.config, held_out.plan.shapes[-1].tokens)
    return make_evaluate(
        program.evaluate(objective, size, frozen),
        # A generator serves once: each evaluation begins a new one.
        lambda: (held_out[i] for i in range(len(held_out))),
        place=lambda batch: packed.complete(program.place(batch)),
        key=run.key,
        stop=run.stop,
    )


def fit(
    run: Run,
    policy: Policy,
    step: Callable[[Any, Any], tuple[Any, dict[str, Any]]],
    state: TrainState,
    packed: Packed,
    *,
    learning_rate: Schedule,
    evaluate: Evaluate | None,
    main_metric: str,
) -> TrainState:
    """Trains on all batches; returns the last state as one copy.

    Args:
      run: With the state's checkpoint, if there is one.
      policy: What is trained.
      step: Compiled, `(state, batch) -> (state, metrics)`.
      state: Consumed.
      packed: The batches.
      learning_rate: Schedule that the optimizer follows.
      evaluate: How it does on held-out rows.
      main_metric: The number that tells how it does, for the progress line.
    """
    program = policy.program
    return run_steps(
        run,
        on_host_batches(
            step,
            lambda batch: packed.complete(program.place(batch)),
            host_metrics=lambda batch: {"data/pad_fraction": pad_fraction(batch)},
        ),
        program.replicate(state),
        lambda start: BatchIterator(packed.train, start=start),
        num_steps=len(packed.train),
        evaluate=evaluate,
        learning_rate=learning_rate,
        # Perhaps a fraction: an update where two epochs meet holds examples of both.
        steps_per_epoch=len(packed.train.layouts) / run.config.batch_size,
        main_metric=main_metric,
        unreplicate=program.unreplicate,
    )


def run_steps(
    run: Run,
    step: Callable[[Any, Any], Any],
    state: Any,
    batches: Callable[[int], Iterator[Any]],
    *,
    num_steps: int,
    evaluate: Evaluate | None,
    learning_rate: Schedule | None,
    steps_per_epoch: float,
    main_metric: str,
    unreplicate: Callable[[Any], Any],
) -> Any:
    """`training.train` with the files and settings of a run; leaves it if stopped."""
    config = run.config
    # Steps are not dropped: between two of them the loop looks, and saves.
    with run.stop.between_steps():
        with Progress(num_steps, main_metric=main_metric) as progress:
            record = Record(
                run.metrics,
                num_steps=num_steps,
                host=run.host,
                # One copy: under pmap each leaf has an axis of devices, the step too.
                start=int(unreplicate(state).step),
                learning_rate=learning_rate,
                steps_per_epoch=steps_per_epoch,
                logging_steps=config.logging_steps,
                after_evaluation=run.draw,
                clock=run.clock,
                progress=progress,
            )
            done = train(
                step,
                state,
                batches,
                num_steps=num_steps,
                record=record,
                stop=run.stop,
                checkpoints=run.checkpoints,
                evaluate=evaluate,
                intervals=Intervals(config.save_steps, config.eval_steps),
                unreplicate=unreplicate,
            )
        # Still inside: at the block's end a request to stop is raised, and the last
        # step would be neither told nor recorded.
        run.trained(done, num_steps)
    return unreplicate(done.state)
