"""What of an iteration needs devices, as functions; by default `jax.jit` alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jaxalign.training import make_train_step
from jaxalign.training.compiled_step import CompiledStep


def _as_it_is(tree: Any) -> Any:
    return tree


def jitted_step(
    objective: Any,
    optimizer: optax.GradientTransformation,
    microbatch_size: int | None = None,
) -> Callable[..., Any]:
    """`make_train_step`, compiled; the state is consumed, and stays where it lies."""
    step = make_train_step(objective, optimizer, microbatch_size=microbatch_size)

    return CompiledStep(step)


class Devices(NamedTuple):
    """How functions run where the parameters lie.

    With the defaults that is one device, or, compiled for it by XLA, whatever sharding
    the state has; `place` may then split the rows of batches, as `jax.device_put` does.

    Attributes:
      row_multiple: The number of rows of a batch is a multiple of it.
      place: From a host batch, a tree of arrays with rows first, to the devices.
      rows: From an output with rows first to a host array `[R, ...]`.
      map: Compiles a function `(params, batch) -> output with rows first`.
      train: From objective, optimizer and the rows of a microbatch to a compiled step
        that consumes its state.
      unreplicate: From what is trained to one copy of it, for sampling.
    """

    row_multiple: int = 1
    place: Callable[[Any], Any] = _as_it_is
    rows: Callable[[jax.Array], np.ndarray] = np.asarray
    map: Callable[[Callable], Callable] = jax.jit
    train: Callable[..., Callable[..., Any]] = jitted_step
    unreplicate: Callable[[Any], Any] = _as_it_is
