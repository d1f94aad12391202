"""The state of a run that samples: arrays only, saved between two iterations."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxalign.models import PARTITION_RULES
from jaxalign.parallel import shardings
from jaxalign.training import TrainState


class Control(NamedTuple):
    """What follows the answers from iteration to iteration, scalars.

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
    """An iteration is one step of the training loop.

    Attributes:
      step: Scalar int32, iterations done.
      inner: Parameters and optimizer; its `step` counts updates.
      control: What rewards and baselines follow.
    """

    step: jax.Array
    inner: TrainState
    control: Control

    @property
    def params(self) -> Any:
        """Those of the policy, and of the critic if there is one."""
        return self.inner.params


class Start(NamedTuple):
    """How a state begins.

    Attributes:
      optimizer: Of all parameters.
      key: Of the run.
      kl_coef: The first one.
      mesh: Where parameters lie.
    """

    optimizer: optax.GradientTransformation
    key: jax.Array
    kl_coef: float
    mesh: jax.sharding.Mesh

    def shapes(self, params: Any) -> RLState:
        """The state for parameters (or their shapes), as shapes with shardings."""
        state = jax.eval_shape(self._create, params)
        places = shardings(PARTITION_RULES, self.mesh, state)
        return jax.tree.map(
            lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            state,
            places,
        )

    def state(self, params: Any) -> RLState:
        """A state before the first iteration; `params` are consumed."""
        places = jax.tree.map(lambda x: x.sharding, self.shapes(params))
        create = jax.jit(self._create, out_shardings=places, donate_argnums=0)
        return create(params)

    def _create(self, params) -> RLState:
        zero = jnp.zeros((), jnp.int32)
        control = Control(jnp.full((), self.kl_coef), jnp.zeros(()), zero)
        inner = TrainState.create(params, self.optimizer, self.key)
        return RLState(zero, inner, control)
