"""The state of reinforcement learning: arrays only, saved between two iterations."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxalign.training import TrainState
from jaxalign.training.state import on_mesh_of


class Control(NamedTuple):
    """What follows the rollouts from iteration to iteration, scalars.

    Attributes:
      kl_coef: Strength of the pull towards the reference.
      baseline: Moving mean of the rewards.
      silent: Iterations in a row in which no group's rewards differed, int32.
    """

    kl_coef: jax.Array
    baseline: jax.Array
    silent: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RLState:
    """An iteration is one step of it.

    Attributes:
      step: Scalar int32, iterations done.
      inner: Parameters and optimizer; its `step` counts updates.
      control: What follows the rollouts.
    """

    step: jax.Array
    inner: TrainState
    control: Control

    @property
    def params(self) -> Any:
        """Those of the policy, and of the critic if there is one."""
        return self.inner.params

    @classmethod
    def create(
        cls,
        params: Any,
        optimizer: optax.GradientTransformation,
        key: jax.Array,
        kl_coef: float = 0.0,
    ) -> "RLState":
        """A state before the first iteration; it holds `params` themselves.

        Args:
          params: Of the policy; with a critic `{"policy": ..., "critic": ...}`.
          optimizer: Of all of them.
          key: A typed random key; each iteration folds its number into it.
          kl_coef: Strength of the pull towards the reference at the start.
        """
        zero = jnp.zeros((), jnp.int32)
        control = Control(jnp.full((), kl_coef), jnp.zeros(()), zero)
        # On the devices of the parameters: a jitted function takes arrays of one mesh.
        step, control = on_mesh_of(params, (zero, control))
        return cls(step, TrainState.create(params, optimizer, key), control)
