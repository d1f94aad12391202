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
from jaxalign.training.checkpoint import Checkpoints
from jaxalign.training.clock import Clock
from jaxalign.training.evaluate import Evaluate
from jaxalign.training.metrics import MetricsLog
from jaxalign.training.optimizer import Schedule
from jaxalign.training.orbax_store import size_in_bytes
from jaxalign.training.preemption import AskedToStop, StopRequest
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
    run = _Run(state, start, whole, record, clock, stop)
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
    return Finished(run.state, run.step, code)


class _Run:
    """The state of a loop, and what is done to it."""

    evaluate: Evaluate | None
    after_evaluation: Callable[[int], None] | None
    checkpoints: Checkpoints | None
    saved: int | None
    eval_due: bool

    def __init__(self, state, step: int, whole, record: Record, clock, stop):
        self.state, self.step = state, step
        self._whole, self._record = whole, record
        self._clock: Clock = clock
        self._stop: StopRequest = stop

    def begin(self) -> None:
        """Evaluates and saves what there is before the first step."""
        is_new = self.saved is None
        if is_new and self.checkpoints is not None:
            needed = 2 * size_in_bytes(self._whole(self.state))
            self.checkpoints.require_space(needed)
        self.evaluate_if_due()
        self.save()
        if is_new and self.checkpoints is not None:
            with self._clock.phase("save"):
                self.checkpoints.wait()

    def advance(self, step_fn, place, batch: Batch, tokens: int, more) -> bool:
        """Dispatches one step, and reads the metrics of the one before.

        Returns:
          Whether it was made; False if it was dropped on request, before it touched
          the state.
        """
        batch = chaos.spoiled("batch", self.step + 1, batch)
        phase = self._record.phase_of(batch)
        with self._clock.phase(phase), self._stop.rescued(self.rescue):
            if self._record.compiles:
                chaos.at("compile")
            try:
                self.state, metrics = step_fn(self.state, place(batch))
            except AskedToStop:
                return False
        self.step += 1
        chaos.at("step", self.step)
        self._record.step(self.step, {**metrics, **more}, batch, tokens)
        return True

    def evaluate_if_due(self) -> None:
        """Evaluates, unless that is not due or the run is asked to stop."""
        if self.evaluate is None or not self.eval_due or self._stop.requested:
            return
        self._record.catch_up()
        try:
            with (
                self._clock.phase("eval"),
                self._stop.rescued(self.rescue),
                self._stop.at_once(),
            ):
                values = self.evaluate(self.state)
        except AskedToStop:
            return
        if values is None:
            return
        self.eval_due = False
        with self._clock.phase("eval"):
            self._record.evaluation(self.step, values)
            if self.after_evaluation is not None:
                self.after_evaluation(self.step)

    def rescue(self) -> bool:
        """Saves the last finished step from another thread, while this one is stuck.

        Returns:
          Whether that is done; not while a step holds the state, which ends by itself.
        """
        if self._is_consumed():
            return False
        try:
            self._keep()
        except RuntimeError:
            if not self._is_consumed():  # else a step has begun in the meantime
                raise
            return False
        return True

    def _is_consumed(self) -> bool:
        leaves = jax.tree.leaves(self.state)
        return any(isinstance(x, jax.Array) and x.is_deleted() for x in leaves)

    def save(self) -> None:
        """Begins to save this step, unless it is saved."""
        if self.checkpoints is None or self.saved == self.step:
            return
        self._record.catch_up()
        with self._clock.phase("save"):
            due = self.evaluate is not None and self.eval_due
            self.checkpoints.save(
                self.step,
                self._whole(self.state),
                data={"position": self.step},
                host=self._record.host_state() | {"eval_due": due},
                metrics=self._record.last_evaluation,
            )
        self.saved = self.step

    def end(self) -> None:
        """Reads what is late, saves once more if the grace period allows, waits."""
        self._keep()
        jax.block_until_ready(self.state)
        self._record.close(self.step)

    def _keep(self) -> None:
        self._record.catch_up()
        if self.checkpoints is None:
            return
        needed = self.checkpoints.save_seconds or 0
        if needed <= self._stop.seconds_left:
            self.save()
        else:
            _LOG.warning(
                "a save takes %.0f s, of the grace period %.0f s are left: the "
                "last checkpoint stays the newest",
                needed,
                self._stop.seconds_left,
            )
        with self._clock.phase("save"):
            self.checkpoints.wait()
