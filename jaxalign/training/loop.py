"""The training loop: batches in, checkpoints and metrics out, ready to be stopped.

It knows no model and no mesh. The number in `state.step` decides everything about a
resume: batch n is the n-th of `batches`, and its randomness is `fold_in(key, n)`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxalign.batch import Batch
from jaxalign.training.checkpoints.checkpoint import Checkpoints
from jaxalign.training.evaluate import Evaluate
from jaxalign.training.log.record import Record, StepResult
from jaxalign.training.loop_state import Loop
from jaxalign.training.prefetch import Prefetch
from jaxalign.training.stopping import exits
from jaxalign.training.stopping.preemption import StopRequest


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


class Intervals(NamedTuple):
    """When a loop does what it does now and then.

    Attributes:
      save_steps: Steps between checkpoints.
      eval_steps: Steps between evaluations.
      data_timeout: Seconds to wait for a batch.
    """

    save_steps: int = 100
    eval_steps: int = 100
    data_timeout: float = 600.0


EVERY_100 = Intervals()


def count_tokens(batch: Batch) -> int:
    """How many positions of a packed batch the model reads, padding left out."""
    return int(np.count_nonzero(batch.tokens.segment_ids))


def on_host_batches(
    step: Callable[[Any, Any], tuple[Any, Mapping[str, Any]]],
    place: Callable[[Any], Any],
    *,
    num_tokens: Callable[[Any], int] = count_tokens,
    host_metrics: Callable[[Any], Mapping[str, float]] = lambda batch: {},
) -> Callable[[Any, Any], tuple[Any, StepResult]]:
    """A step as `train` calls it, from one that `make_train_step` has made.

    Args:
      step: `(state, batch) -> (state, metrics)`, jitted; it may donate the state.
      place: From a host batch to what it takes.
      num_tokens: From a host batch to how many tokens it trains on.
      host_metrics: From a host batch to further metrics of its step.

    Returns:
      `(state, host batch) -> (state, StepResult)`.
    """

    def run(state, batch):
        state, metrics = step(state, place(batch))
        # Apart from the others, because it decides whether they count.
        own = {k: v for k, v in metrics.items() if k != "skipped_steps"}
        skipped = metrics.get("skipped_steps")
        own |= host_metrics(batch)
        return state, StepResult(own, num_tokens(batch), skipped)

    return run


def train(
    step: Callable[[Any, Any], tuple[Any, StepResult]],
    state: Any,
    batches: Callable[[int], Iterator[Any]],
    *,
    num_steps: int,
    record: Record,
    stop: StopRequest,
    checkpoints: Checkpoints | None = None,
    evaluate: Evaluate | None = None,
    intervals: Intervals = EVERY_100,
    unreplicate: Callable[[Any], Any] = lambda state: state,
) -> Finished:
    """Trains from `state.step` to `num_steps`.

    The metrics of a step are read while the next one runs. A checkpoint is written at
    the start of a new run (so that a disk or permission that fails does so before the
    work), every `save_steps`, at the end, and when the run is asked to stop. An error
    that ends the run waits for the save that is under way.

    Args:
      step: `(state, host batch) -> (state, StepResult)`, as `on_host_batches` makes it.
        What it does before it consumes the state may stand in `stop.at_once()`: a step
        that is dropped there was never made.
      state: A `TrainState`, or anything with `step` and `params`.
      batches: From the number of batches consumed to an iterator over those that
        follow.
      num_steps: Where to end.
      record: Where metrics go; it knows whether `state` came from a checkpoint.
      stop: Entered by the caller, before anything was loaded or compiled.
      checkpoints: Where to save; None saves nothing.
      evaluate: `state -> metrics`, called before the first step, every `eval_steps`
        and after the last; None from it means that it was interrupted.
      intervals: When to save and to evaluate.
      unreplicate: From the state that `step` carries to the one copy that is saved;
        they differ under `pmap`, where every leaf has a device axis.

    Returns:
      The last state, its step, and the exit code.

    Raises:
      NonFiniteError: Too many steps in a row were skipped; `bad_batch.npz` holds the
        last of them and which examples were in each.
      CheckpointSaveError: A checkpoint could not be written.
      UserError: The data ended too early.
    """
    # One copy: under pmap every leaf has a device axis, the step as well.
    start = int(unreplicate(state).step)
    run = Loop(state, start, record, stop, checkpoints, evaluate, unreplicate)
    # Started first: batches are made while the state is evaluated and saved.
    stream = Prefetch(batches, start, timeout=intervals.data_timeout)
    try:
        run.begin()
        while run.step < num_steps and not stop.requested:
            with record.clock.phase("data"):
                batch = stream.get(stop)
            if batch is None or not run.advance(step, batch):
                break
            last = run.step == num_steps
            # Remembered until it is done, so that a stop in between leaves it to the
            # resume.
            run.eval_due = last or run.step % intervals.eval_steps == 0
            # Before the save, which keeps the metrics that `best` compares.
            run.evaluate_if_due()
            if last or run.step % intervals.save_steps == 0:
                run.save()
            # A failure in the background is told now, and not at the next save.
            if checkpoints is not None:
                checkpoints.check()
        run.end()
    # Also when the run is asked to stop: a save that is under way is worth the wait.
    except BaseException:
        if checkpoints is not None:
            checkpoints.settle()
        raise
    finally:
        stream.close()
    # Between the last step and its evaluation the run is not finished either.
    unfinished = run.step < num_steps or (run.eval_due and evaluate is not None)
    code = exits.STOPPED if unfinished else exits.FINISHED
    return Finished(run.state, run.step, code, run.saved)
