"""Goes on where the run in a folder stopped, or starts it."""

from typing import Any

from jaxalign.errors import UserError
from jaxalign.training.checkpoints.checkpoint import Checkpoints, Verify
from jaxalign.training.folder.run_folder import RunFolder
from jaxalign.training.log.clock import Clock
from jaxalign.training.log.metrics import MetricsLog
from jaxalign.training.log.record import host_is_sound


def restore_or_start(
    run: RunFolder,
    checkpoints: Checkpoints,
    metrics: MetricsLog,
    state: Any,
    *,
    clock: Clock | None = None,
    verify: Verify = "leaves",
    strict: bool = False,
) -> tuple[Any, dict[str, Any] | None]:
    """Restores the newest verified checkpoint, and cuts the metrics back to its step.

    Args:
      run: Entered; says whether to resume, and from which step.
      checkpoints: Those of the run.
      metrics: Its metrics; lines after the restored step are removed.
      state: A state at step 0, or its `jax.ShapeDtypeStruct`s with shardings.
      clock: Counts the time as `restore`.
      verify: See `Checkpoints.restore`.
      strict: Fail at a damaged checkpoint, in place of using the one before.

    Returns:
      The state to train from, and the host part of the checkpoint for `train`; `state`
      itself and None if there is no checkpoint.
    """
    restored = None
    with (clock or Clock()).phase("restore"):
        if run.resumes:
            restored = checkpoints.restore(
                state, step=run.resume_step, verify=verify, strict=strict
            )
    if restored is not None and not host_is_sound(restored.host):
        raise UserError(
            f"checkpoint {checkpoints.folder / str(restored.step)} cannot be used: its "
            "host.json holds other values than a run writes; choose another with "
            f"--resume STEP (there are {checkpoints.steps()})"
        )
    step = None if restored is None else restored.step
    # Checkpoints, then metrics: after a crash in between the next start cuts them
    # alike.
    checkpoints.begin_at(step)
    # Step 0 goes, too, because a new run evaluates it again.
    metrics.cut_back(-1 if step is None else step)
    run.started(step or 0)
    return (state, None) if restored is None else (restored.state, restored.host)
