"""State and step, and what keeps a run going: optimizer, checkpoints, loop."""

from jaxalign.training.checkpoints.checkpoint import Checkpoints
from jaxalign.training.evaluate import make_evaluate
from jaxalign.training.folder.run_folder import RunFolder
from jaxalign.training.log.clock import Clock
from jaxalign.training.log.counted import Counted
from jaxalign.training.log.metrics import MetricsLog, read_metrics
from jaxalign.training.log.mirrors import make_mirrors
from jaxalign.training.log.plots import draw_plots
from jaxalign.training.log.progress import Progress
from jaxalign.training.log.record import Record, StepResult
from jaxalign.training.loop import Finished, Intervals, on_host_batches, train
from jaxalign.training.optimizer import OptimizerConfig, make_optimizer
from jaxalign.training.resume import restore_or_start
from jaxalign.training.state import TrainState
from jaxalign.training.step import make_eval_step, make_train_step
from jaxalign.training.stopping.preemption import AskedToStop, StopRequest

__all__ = [
    "AskedToStop",
    "Checkpoints",
    "Clock",
    "Counted",
    "Finished",
    "Intervals",
    "MetricsLog",
    "OptimizerConfig",
    "Progress",
    "Record",
    "RunFolder",
    "StepResult",
    "StopRequest",
    "TrainState",
    "draw_plots",
    "make_eval_step",
    "make_evaluate",
    "make_mirrors",
    "make_optimizer",
    "make_train_step",
    "on_host_batches",
    "read_metrics",
    "restore_or_start",
    "train",
]
