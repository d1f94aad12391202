"""A training loop's state, and the pieces of it: step, evaluation, save, end."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import jax

from jaxalign.training import chaos
from jaxalign.training.checkpoints.checkpoint import Checkpoints
from jaxalign.training.checkpoints.orbax_store import size_in_bytes
from jaxalign.training.evaluate import Evaluate
from jaxalign.training.log.record import Record
from jaxalign.training.stopping.preemption import AskedToStop, StopRequest

_LOG = logging.getLogger("jaxalign")


class Loop:
    """Where a run is, and what it does next.

    Attributes:
      state: The last state.
      step: Its step.
      saved: The step of the last checkpoint, None without one.
      eval_due: Whether this step is to be evaluated and is not yet.
    """

    def __init__(
        self,
        state: Any,
        step: int,
        record: Record,
        stop: StopRequest,
        checkpoints: Checkpoints | None,
        evaluate: Evaluate | None,
        unreplicate: Callable[[Any], Any],
    ):
        """Arguments as in `train`; `step` is that of the state."""
        self.state, self.step = state, step
        self.saved: int | None = None if record.is_new else step
        self.eval_due: bool = record.evaluation_is_due(step)
        self._record, self._clock, self._stop = record, record.clock, stop
        self._checkpoints, self._evaluate = checkpoints, evaluate
        self._unreplicate = unreplicate

    def begin(self) -> None:
        """Evaluates and saves what there is before the first step."""
        is_new = self.saved is None
        if is_new and self._checkpoints is not None:
            # Room for two, because the old one goes when the new one is verified.
            needed = 2 * size_in_bytes(self._unreplicate(self.state))
            self._checkpoints.require_space(needed)
        self.evaluate_if_due()
        self.save()
        # A disk that refuses shall do so before the work, not at the first interval.
        if is_new and self._checkpoints is not None:
            with self._clock.phase("save"):
                self._checkpoints.wait()

    def advance(self, step, batch: Any) -> bool:
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
                self.state, result = step(self.state, batch)
            except AskedToStop:
                return False
        self.step += 1
        chaos.at("step", self.step)
        self._record.step(self.step, result, batch)
        return True

    def evaluate_if_due(self) -> None:
        """Evaluates, unless that is not due or the run is asked to stop."""
        if self._evaluate is None or not self.eval_due or self._stop.requested:
            return
        # Its last step is read first, whose time would be counted as evaluation.
        self._record.catch_up()
        try:
            with (
                self._clock.phase("eval"),
                self._stop.rescued(self.rescue),
                self._stop.at_once(),
            ):
                values = self._evaluate(self.state)
        except AskedToStop:
            return
        if values is None:
            return
        # Only now: an evaluation that was dropped stays due.
        self.eval_due = False
        with self._clock.phase("eval"):
            self._record.evaluation(self.step, values)
            # What is drawn can be drawn again later: a request to stop ends it.
            with (
                contextlib.suppress(AskedToStop),
                self._stop.rescued(self.rescue),
                self._stop.at_once(),
            ):
                self._record.after_evaluation(self.step)

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
        # A donated array is deleted as soon as its step is dispatched.
        leaves = jax.tree.leaves(self.state)
        return any(isinstance(x, jax.Array) and x.is_deleted() for x in leaves)

    def save(self) -> None:
        """Begins to save this step, unless it is saved."""
        if self._checkpoints is None or self.saved == self.step:
            return
        # The host's sums must hold this step when they are saved.
        self._record.catch_up()
        with self._clock.phase("save"):
            due = self._evaluate is not None and self.eval_due
            self._checkpoints.save(
                self.step,
                self._unreplicate(self.state),
                data={"position": self.step},
                host=self._record.host_state() | {"eval_due": due},
                metrics=self._record.last_evaluation,
            )
        self.saved = self.step
        self._record.say(self.step, f"saving to {self._checkpoints.folder}")

    def end(self) -> None:
        """Reads what is late, saves once more if the grace period allows, waits."""
        self._keep()
        # Faults of the device come out here, before success is reported.
        jax.block_until_ready(self.state)
        self._record.close(self.step)

    def _keep(self) -> None:
        self._record.catch_up()
        if self._checkpoints is None:
            return
        needed = self._checkpoints.save_seconds or 0
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
            self._checkpoints.wait()
