"""State and step, and what keeps a run going: optimizer, checkpoints, loop."""

from jaxalign.training.state import TrainState
from jaxalign.training.step import make_eval_step, make_train_step

__all__ = ["TrainState", "make_eval_step", "make_train_step"]
