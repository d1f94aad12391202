"""The parameters of a model as shapes and paths; no array is made."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.models.config import ModelConfig
from jaxalign.models.transformer import Transformer, init_params


@functools.lru_cache(maxsize=64)
def param_shapes(config: ModelConfig, dtype: Any = jnp.float32):
    """The parameters as a tree of `jax.ShapeDtypeStruct`; do not change it."""
    shapes = jax.eval_shape(
        lambda key: init_params(Transformer(config), key), jax.random.key(0)
    )
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, dtype), shapes)


def flat_paths(tree) -> dict[str, Any]:
    """`{"layers/mlp/up/kernel": leaf, ...}`, in the order of `jax.tree.leaves`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(k.key) for k in path): leaf for path, leaf in leaves}
