"""The training loop: batches in, checkpoints and metrics out, ready to be stopped.

It knows no model and no mesh. The number in `state.step` decides everything about a
resume: batch n is the n-th of `batches`, and its randomness is `fold_in(key, n)`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxalign.training import chaos, exits
from jaxalign.training.checkpoint import Checkpoints, size_in_bytes
from jaxalign.training.clock import Clock
from jaxalign.training.evaluate import Evaluate
from jaxalign.training.metrics import MetricsLog
from jaxalign.training.optimizer import Schedule
from jaxalign.training.preemption import StopRequest
from jaxalign.training.prefetch import Prefetch
from jaxalign.training.progress import Progress
from jaxalign.training.record import Record

Batch = Mapping[str, np.ndarray]
_LOG = logging.getLogger("jaxalign")


class Finished(NamedTuple):
    """How training ended.

    Attributes:
      state: The last state.
      step: Its step.
      exit_code: `exits.FINISHED`, or `exits.STOPPED` if it was asked to stop early.
    """

    state: Any
    step: int
    exit_code: int


def count_tokens(batch: Batch) -> int:
    """How many positions of a packed batch the model reads, padding left out."""
    return int(np.count_nonzero(batch["segment_ids"]))


def train(
    step_fn: Callable[[Any, Any], tuple[Any, Mapping[str, Any]]],
    state: Any,
    batches: Callable[[int], Iterator[Batch]],
    *,
    num_steps: int,
    place: Callable[[Batch], Any],
    metrics: MetricsLog,
    stop: StopRequest,
    checkpoints: Checkpoints | None = None,
    host: Mapping[str, Any] | None = None,
    evaluate: Evaluate | None = None,
    after_evaluation: Callable[[int], None] | None = None,
    learning_rate: Schedule | None = None,
    num_tokens: Callable[[Batch], int] = count_tokens,
    steps_per_epoch: float | None = None,
    save_steps: int = 100,
    eval_steps: int = 100,
    logging_steps: int = 1,
    max_skipped: int = 5,
    data_timeout: float = 600.0,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Trains from `state.step` to `num_steps`.

    The metrics of a step are read while the next one runs. A checkpoint is written at
    the start of a new run (so that a disk or permission that fails does so before the
    work), every `save_steps`, at the end, and when the run is asked to stop.

    Args:
      step_fn: `(state, batch) -> (state, metrics)`, jitted; it may donate the state.
        Metrics are scalars or `Mean`s; a positive `skipped_steps` says that the update
        was left out, and then the others are not looked at.
      state: A `TrainState`, or anything with `step` and `params`.
      batches: From the number of batches consumed to an iterator over those that
        follow, each a dict of host arrays.
      num_steps: Where to end.
      place: From a host batch to what `step_fn` takes.
      metrics: Where lines go; `timing.jsonl` and `bad_batch.npz` go beside it.
      stop: Entered by the caller, before anything was loaded or compiled.
      checkpoints: Where to save; None saves nothing.
      host: What the checkpoint that `state` came from held for the host.
      evaluate: `params -> metrics`, called before the first step, every `eval_steps`
        and after the last; None from it means that it was interrupted.
      after_evaluation: Called with the step, after the lines were written: for plots.
      learning_rate: Schedule that the optimizer follows, to log the rate used.
      num_tokens: From a host batch to how many tokens it trains on.
      steps_per_epoch: Batches in a pass over the data, to log `epoch`.
      save_steps: Steps between checkpoints.
      eval_steps: Steps between evaluations.
      logging_steps: Steps that each line of metrics is the mean of.
      max_skipped: Skipped steps in a row that end the run.
      data_timeout: Seconds to wait for a batch.
      clock: Started with the process, to account for all of its time.
      progress: What people see.

    Returns:
      The last state, its step, and the exit code.

    Raises:
      NonFiniteError: `max_skipped` steps in a row were skipped; `bad_batch.npz` holds
        the last of them and which examples were in each.
      CheckpointSaveError: A checkpoint could not be written.
      UserError: The data ended too early.
    """
    start = int(state.step)
    clock = clock or Clock()
    record = Record(
        metrics,
        host=host,
        step=start,
        num_steps=num_steps,
        logging_steps=logging_steps,
        learning_rate=learning_rate,
        updates=start - int((host or {}).get("skipped_steps", 0)),
        steps_per_epoch=steps_per_epoch,
        max_skipped=max_skipped,
        clock=clock,
        progress=progress,
    )
    step, saved, evaluated = start, start if host else None, not record.eval_due

    def evaluate_now():
        nonlocal evaluated
        if evaluate is None or evaluated or stop.requested:
            return
        record.catch_up()
        with clock.phase("eval"):
            values = evaluate(state.params)
            if values is not None:
                evaluated = True
                record.evaluation(step, values)
                if after_evaluation is not None:
                    after_evaluation(step)

    def save_now():
        nonlocal saved
        if checkpoints is None or saved == step:
            return
        record.catch_up()
        with clock.phase("save"):
            metrics.flush()
            eval_due = evaluate is not None and not evaluated
            host = record.host_state() | {"eval_due": eval_due}
            data = {"position": step}
            values = record.last_evaluation
            checkpoints.save(step, state, data=data, host=host, metrics=values)
            if step == start:
                checkpoints.wait()
        saved = step

    stream = Prefetch(batches, start, timeout=data_timeout)
    try:
        if checkpoints is not None and host is None:
            checkpoints.require_space(2 * size_in_bytes(state))
        evaluate_now()
        save_now()
        while step < num_steps and not stop.requested:
            with clock.phase("data"):
                batch = stream.get(stop)
            if batch is None:
                break
            batch = chaos.spoiled("batch", step + 1, batch)
            with clock.phase(record.phase_of(batch)):
                placed = place(batch)
                if record.compiles:
                    chaos.at("compile")
                state, step_metrics = step_fn(state, placed)
            step += 1
            chaos.at("step", step)
            record.step(step, step_metrics, batch, num_tokens(batch))
            last = step == num_steps
            evaluated = not (last or step % eval_steps == 0)
            evaluate_now()
            if last or step % save_steps == 0:
                save_now()
            if checkpoints is not None:
                checkpoints.check()
        record.catch_up()
        _save_if_it_fits(save_now, checkpoints, stop)
        if checkpoints is not None:
            with clock.phase("save"):
                checkpoints.wait()
        jax.block_until_ready(state)
        record.close(step)
    finally:
        stream.close()
    done = step >= num_steps and not (stop.requested and not evaluated)
    return Finished(state, step, exits.FINISHED if done else exits.STOPPED)


def _save_if_it_fits(save_now, checkpoints: Checkpoints | None, stop: StopRequest):
    if checkpoints is not None and (checkpoints.save_seconds or 0) > stop.seconds_left:
        _LOG.warning(
            "a save takes %.0f s and %.0f s of the grace period are left: the last "
            "checkpoint stays the newest",
            checkpoints.save_seconds,
            stop.seconds_left,
        )
        return
    save_now()
