"""Parameters from a model folder, tensor by tensor into their sharding."""

import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.errors import UserError
from jaxalign.models.config import ModelConfig
from jaxalign.models.folder.names import Tensor, part_columns, present_tensors
from jaxalign.models.folder.safetensors_folder import read_columns
from jaxalign.models.folder.weight_checks import check_names, open_weights
from jaxalign.models.param_shapes import flat_paths, param_shapes

_CHECKED_PARAMETERS = 1_000_000_000


def load_params(
    folder: pathlib.Path | str,
    config: ModelConfig,
    shardings=None,
    dtype: Any = jnp.float32,
    *,
    check_finite: bool | None = None,
):
    """The parameters in `folder`, each read straight into its place.

    Every device gets only its own part of each tensor, read layer by layer, so the
    host never holds more than about one device's part of one leaf.

    Args:
      folder: A Hugging Face model folder with safetensors files.
      config: What `read_config(folder)` returned.
      shardings: A tree of `jax.sharding.Sharding` like the parameters (see
        `param_shapes`); default: everything on the first device.
      dtype: Type of the parameters.
      check_finite: Whether a NaN or an infinity is an error; default: for models
        below one billion parameters.

    Returns:
      The parameter tree of `init_params`.

    Raises:
      UserError: A tensor is missing, unknown, misshapen, of a foreign type or not
        finite, or a file is absent, damaged or a pickle; the text names it.
    """
    source = open_weights(pathlib.Path(folder), config)
    shapes = param_shapes(config, dtype)
    leaves = flat_paths(shapes)
    tensors = present_tensors(config, leaves)
    check_names(source, config, tensors, leaves)
    if shardings is None:
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        shardings = jax.tree.map(lambda _: device, shapes)
    if check_finite is None:
        total = sum(math.prod(leaf.shape) for leaf in leaves.values())
        check_finite = total < _CHECKED_PARAMETERS
    holder = {p: (t, i) for t in tensors for i, p in enumerate(t.parts)}
    loaded = []
    for path, sharding in zip(leaves, jax.tree.leaves(shardings), strict=True):
        tensor, part = holder[path]
        reader = _Reader(source, config, leaves, tensor, part, check_finite)
        shape = leaves[path].shape
        loaded.append(
            jax.make_array_from_callback(
                shape, sharding, reader, dtype=leaves[path].dtype
            )
        )
    return jax.tree.unflatten(jax.tree.structure(shapes), loaded)


class _Reader:
    """Reads any part `[layers, in, out]` of one leaf from the files."""

    def __init__(self, source, config, leaves, tensor: Tensor, part: int, check: bool):
        self.source, self.tensor, self.check = source, tensor, check
        self.leaf = leaves[tensor.parts[part]]
        widths = [leaves[p].shape[-1] for p in tensor.parts]
        self.columns = part_columns(tensor, widths, part, config.head_dim)

    def __call__(self, index: Any) -> np.ndarray:
        index = tuple(
            slice(*s.indices(n)) for s, n in zip(index, self.leaf.shape, strict=True)
        )
        if "{}" not in self.tensor.name:
            return self._read(self.tensor.name, index).astype(self.leaf.dtype)
        layers = range(self.leaf.shape[0])[index[0]]
        sizes = [s.stop - s.start for s in index[1:]]
        out = np.empty((len(layers), *sizes), self.leaf.dtype)
        for i, layer in enumerate(layers):
            out[i] = self._read(self.tensor.name.format(layer), index[1:])
        return out

    def _read(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        transposed = self.tensor.layout == "transposed"
        columns = self.columns[index[-1]]
        block = read_columns(self.source.slices(name), index[0], columns, transposed)
        if self.check and not np.isfinite(block).all():
            raise UserError(
                f"`{name}` in {self.source.folder} holds NaN or infinity. The "
                "checkpoint is damaged or its training diverged; take an earlier one."
            )
        return block
