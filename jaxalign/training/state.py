"""The training state: arrays only, so that it checkpoints and shards as it is."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that changes from step to step, and nothing else.

    Functions (the model's apply, the optimizer) are not in here: they belong to
    the step that `make_train_step` closes over.

    Attributes:
      step: Scalar int32, the number of steps taken, skipped ones included.
      params: The model's parameters, any pytree of arrays.
      opt_state: The optimizer's state for them.
      key: A typed random key; step n uses `fold_in(key, n)`, so it never changes.
    """

    step: jax.Array
    params: Any
    opt_state: optax.OptState
    key: jax.Array

    @classmethod
    def create(cls, params, optimizer, key) -> "TrainState":
        """A state at step 0, with the optimizer's initial state for `params`."""
        return cls(jnp.zeros((), jnp.int32), params, optimizer.init(params), key)
