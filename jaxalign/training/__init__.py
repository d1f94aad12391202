"""State and step, and what keeps a run going: optimizer, checkpoints, loop."""

from jaxalign.training.checkpoint import Checkpoints
from jaxalign.training.clock import Clock
from jaxalign.training.evaluate import make_evaluate
from jaxalign.training.loop import Finished, Intervals, on_host_batches, train
from jaxalign.training.metrics import MetricsLog, read_metrics
from jaxalign.training.mirrors import make_mirrors
from jaxalign.training.optimizer import OptimizerConfig, make_optimizer
from jaxalign.training.plots import draw_plots
from jaxalign.training.preemption import AskedToStop, StopRequest
from jaxalign.training.progress import Progress
from jaxalign.training.record import Record, StepResult
from jaxalign.training.resume import restore_or_start
from jaxalign.training.run_folder import RunFolder
from jaxalign.training.state import TrainState
from jaxalign.training.step import make_eval_step, make_train_step

__all__ = [
    "AskedToStop",
    "Checkpoints",
    "Clock",
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
