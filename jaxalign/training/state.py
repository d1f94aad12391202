"""The training state: arrays only, so that it checkpoints and shards as it is."""

import dataclasses
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from jaxalign.errors import UserError


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
      carry: What the objective knows of the batches so far, any pytree of arrays;
        for most objectives nothing.
    """

    step: jax.Array
    params: Any
    opt_state: optax.OptState
    key: jax.Array
    carry: Any = ()

    @classmethod
    def create(cls, params, optimizer, key, carry=()) -> "TrainState":
        """A state at step 0, with the optimizer's initial state for `params`.

        Args:
          params: Any pytree of arrays.
          optimizer: What the step will use.
          key: A typed random key.
          carry: That of the objective, if it has one; copied, because a step may
            consume the state.

        Raises:
          UserError: If some of `params` are no floats.
        """
        check_params(params)
        carry = jax.tree.map(jnp.array, carry)
        start = jnp.zeros((), jnp.int32)
        return on_mesh_of(
            params, cls(start, params, optimizer.init(params), key, carry)
        )


def on_mesh_of(params, tree):
    """`tree` with whatever lies on one device copied to all devices of `params`' mesh.

    A step gives all of its state back on that mesh. A counter that came from elsewhere
    would make the second step another program, and compile it.

    Args:
      params: Any pytree; if no array of it lies on a mesh, `tree` stays as it is.
      tree: A state made of them.
    """
    meshes = (
        x.sharding.mesh
        for x in jax.tree.leaves(params)
        # A tracer has no place yet, and NumPy arrays never have one.
        if isinstance(x, jax.Array)
        and not isinstance(x, jax.core.Tracer)
        and isinstance(x.sharding, NamedSharding)
    )
    mesh = next(meshes, None)
    if mesh is None:
        return tree
    everywhere = NamedSharding(mesh, PartitionSpec())

    def place(x):
        there = isinstance(x.sharding, NamedSharding)
        return x if there else jax.device_put(x, everywhere)

    return jax.tree.map(place, tree)


def check_params(params) -> None:
    """Refuses parameters that cannot be differentiated, such as a model's random keys.

    Args:
      params: Any pytree of arrays.

    Raises:
      UserError: Some are no floats; with the path of the first.

    >>> check_params({"kernel": jnp.zeros(2), "count": jnp.zeros((), jnp.uint32)})
    Traceback (most recent call last):
    ...
    jaxalign.errors.UserError: params['count'] is uint32, and only floats can be
    trained. ...
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        dtype = getattr(leaf, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.inexact):
            raise UserError(
                f"params{jax.tree_util.keystr(path)} is {dtype or type(leaf)}, and "
                "only floats can be trained. Split a model into weights and the rest, "
                'such as rngs, counters and buffers: README, "Any model, any mesh", '
                "shows how."
            )
