"""The training loop: batches in, checkpoints and metrics out, ready to be stopped.

It knows no model and no mesh. The number in `state.step` decides everything about a
resume: batch n is the n-th of `batches`, and its randomness is `fold_in(key, n)`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxalign.batch import Batch
from jaxalign.training import exits
from jaxalign.training.checkpoint import Checkpoints
from jaxalign.training.clock import Clock
from jaxalign.training.evaluate import Evaluate
from jaxalign.training.loop_state import Loop
from jaxalign.training.metrics import MetricsLog
from jaxalign.training.optimizer import Schedule
from jaxalign.training.preemption import StopRequest
from jaxalign.training.prefetch import Prefetch
from jaxalign.training.progress import Progress
from jaxalign.training.record import Record


class Finished(NamedTuple):
    """How training ended.

    Attributes:
      state: The last state.
      step: Its step.
      exit_code: `exits.FINISHED`, or `exits.STOPPED` if it was asked to stop early.
      saved: The step of the last checkpoint, None without one.
    """

    state: Any
    step: int
    exit_code: int
    saved: int | None = None


def count_tokens(batch: Batch) -> int:
    """How many positions of a packed batch the model reads, padding left out."""
    return int(np.count_nonzero(batch.tokens.segment_ids))


def train(
    step_fn: Callable[[Any, Any], tuple[Any, Mapping[str, Any]]],
    state: Any,
    batches: Callable[[int], Iterator[Any]],
    *,
    num_steps: int,
    place: Callable[[Any], Any],
    metrics: MetricsLog,
    stop: StopRequest,
    checkpoints: Checkpoints | None = None,
    host: Mapping[str, Any] | None = None,
    evaluate: Evaluate | None = None,
    after_evaluation: Callable[[int], None] | None = None,
    learning_rate: Schedule | None = None,
    num_tokens: Callable[[Any], int] = count_tokens,
    host_metrics: Callable[[Batch], Mapping[str, float]] = lambda batch: {},
    steps_per_epoch: float | None = None,
    save_steps: int = 100,
    eval_steps: int = 100,
    logging_steps: int = 1,
    max_skipped: int = 5,
    data_timeout: float = 600.0,
    clock: Clock | None = None,
    progress: Progress | None = None,
    whole: Callable[[Any], Any] = lambda state: state,
) -> Finished:
    """Trains from `state.step` to `num_steps`.

    The metrics of a step are read while the next one runs. A checkpoint is written at
    the start of a new run (so that a disk or permission that fails does so before the
    work), every `save_steps`, at the end, and when the run is asked to stop. An error
    that ends the run waits for the save that is under way.

    Args:
      step_fn: `(state, batch) -> (state, metrics)`, jitted; it may donate the state.
        Metrics are scalars or `Mean`s; a positive `skipped_steps` says that the update
        was left out, and then the others are not looked at. What it does before it
        consumes the state may stand in `stop.at_once()`: a step that is dropped there
        was never made.
      state: A `TrainState`, or anything with `step` and `params`.
      batches: From the number of batches consumed to an iterator over those that
        follow, each a dict of host arrays.
      num_steps: Where to end.
      place: From a host batch to what `step_fn` takes.
      metrics: Where lines go; `timing.jsonl` and `bad_batch.npz` go beside it.
      stop: Entered by the caller, before anything was loaded or compiled.
      checkpoints: Where to save; None saves nothing.
      host: What the checkpoint that `state` came from held for the host.
      evaluate: `state -> metrics`, called before the first step, every `eval_steps`
        and after the last; None from it means that it was interrupted.
      after_evaluation: Called with the step, after the lines were written: for plots.
      learning_rate: Schedule that the optimizer follows, to log the rate used.
      num_tokens: From a host batch to how many tokens it trains on.
      host_metrics: From a host batch to further metrics of its step.
      steps_per_epoch: Batches in a pass over the data, to log `epoch`.
      save_steps: Steps between checkpoints.
      eval_steps: Steps between evaluations.
      logging_steps: Steps that each line of metrics is the mean of.
      max_skipped: Skipped steps in a row that end the run.
      data_timeout: Seconds to wait for a batch.
      clock: Started with the process, to account for all of its time.
      progress: What people see.
      whole: From the state that `step_fn` carries to the one copy that is saved; they
        differ under `pmap`, where every leaf has a device axis.

    Returns:
      The last state, its step, and the exit code.

    Raises:
      NonFiniteError: `max_skipped` steps in a row were skipped; `bad_batch.npz` holds
        the last of them and which examples were in each.
      CheckpointSaveError: A checkpoint could not be written.
      UserError: The data ended too early.
    """
    start = int(whole(state).step)
    clock = clock or Clock()
    record = Record(
        metrics,
        host=host,
        step=start,
        num_steps=num_steps,
        logging_steps=logging_steps,
        learning_rate=learning_rate,
        steps_per_epoch=steps_per_epoch,
        max_skipped=max_skipped,
        clock=clock,
        progress=progress,
    )
    run = Loop(state, start, whole, record, clock, stop)
    run.evaluate, run.after_evaluation = evaluate, after_evaluation
    run.checkpoints, run.saved = checkpoints, None if host is None else start
    run.eval_due = record.eval_due and not metrics.has(start, "eval")
    stream = Prefetch(batches, start, timeout=data_timeout)
    try:
        run.begin()
        while run.step < num_steps and not stop.requested:
            with clock.phase("data"):
                batch = stream.get(stop)
            if batch is None:
                break
            more = num_tokens(batch), host_metrics(batch)
            if not run.advance(step_fn, place, batch, *more):
                break
            last = run.step == num_steps
            run.eval_due = last or run.step % eval_steps == 0
            run.evaluate_if_due()
            if last or run.step % save_steps == 0:
                run.save()
            if checkpoints is not None:
                checkpoints.check()
        run.end()
    except BaseException:
        if checkpoints is not None:
            checkpoints.settle()
        raise
    finally:
        stream.close()
    unfinished = run.step < num_steps or (run.eval_due and evaluate is not None)
    code = exits.STOPPED if unfinished else exits.FINISHED
    return Finished(run.state, run.step, code, run.saved)
