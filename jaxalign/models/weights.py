"""Parameters from a model folder, tensor by tensor into their sharding."""

import math
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.errors import UserError
from jaxalign.models.config import ModelConfig
from jaxalign.models.names import (
    BUFFERS,
    FAMILIES,
    PREFIXES,
    Tensor,
    part_columns,
    present_tensors,
)
from jaxalign.models.safetensors_folder import SafetensorsFolder, read_columns
from jaxalign.models.transformer import Transformer, init_params

_HEADS = ("unembed/kernel", "score/kernel")
_CHECKED_PARAMETERS = 1_000_000_000


def param_shapes(config: ModelConfig, dtype: Any = jnp.float32):
    """The parameter tree with a `jax.ShapeDtypeStruct` for each leaf."""
    shapes = jax.eval_shape(
        lambda key: init_params(Transformer(config), key), jax.random.key(0)
    )
    return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, dtype), shapes)


def flat_paths(tree) -> dict[str, Any]:
    """`{"layers/mlp/up/kernel": leaf, ...}`, in the order of `jax.tree.leaves`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(str(k.key) for k in path): leaf for path, leaf in leaves}


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
    source = SafetensorsFolder(pathlib.Path(folder))
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


def check_names(source: SafetensorsFolder, config, tensors, leaves) -> None:
    """Every tensor there, none unknown, each of its shape and of a float type."""
    prefix = PREFIXES.get(config.family, "model.")
    unread = {n for n in source.names if re.search(BUFFERS, n)}
    if config.head == "none":
        unread |= source.names & _head_names(config.family)
    for name in unread:
        source.forget(name)
    wanted = {}
    for tensor in tensors:
        shape = _file_shape(tensor, leaves)
        layers = range(config.num_layers) if "{}" in tensor.name else [0]
        wanted.update({tensor.name.format(layer): shape for layer in layers})
    for name in wanted:
        bare = name.removeprefix(prefix)
        if name not in source.names and bare in source.names:
            source.rename(bare, name)
    _check_tied_head(source, config)
    missing, extra = (
        sorted(set(wanted) - source.names),
        sorted(source.names - set(wanted)),
    )
    if missing or extra:
        raise UserError(
            f"The weights in {source.folder} do not fit its config.json "
            f"(`{config.family}`, {config.num_layers} layers)."
            + _listed("Missing", missing)
            + _listed("Not known", extra)
        )
    for name, shape in wanted.items():
        source.check_float(name)
        if source.shape(name) != shape:
            raise UserError(
                f"`{name}` in {source.folder} has shape {list(source.shape(name))}; "
                f"its config.json asks for {list(shape)}. One of the two files is of "
                "another model."
            )


def embedding_rows(source: SafetensorsFolder, config: ModelConfig) -> int:
    """Rows of the embedding on disk: the vocabulary and its padding."""
    name = FAMILIES[config.family][0].name
    bare = name.removeprefix(PREFIXES.get(config.family, "model."))
    for known in (name, bare):
        if known in source.names:
            return source.shape(known)[0]
    return config.vocab_size


def _file_shape(tensor: Tensor, leaves) -> tuple[int, ...]:
    shapes = [leaves[p].shape for p in tensor.parts]
    if "{}" in tensor.name:
        shapes = [s[1:] for s in shapes]
    shape = (*shapes[0][:-1], sum(s[-1] for s in shapes))
    return shape[::-1] if tensor.layout == "transposed" else shape


def _head_names(family: str) -> set[str]:
    return {t.name for t in FAMILIES[family] if t.parts[0] in _HEADS}


def _check_tied_head(source: SafetensorsFolder, config: ModelConfig) -> None:
    """A tied model may hold its head once more, if it is the embedding."""
    head = "embed_out.weight" if config.family == "gpt_neox" else "lm_head.weight"
    if not config.tie_embeddings or head not in source.names:
        return
    embed = next(n for n in source.names if re.search(r"embed_tokens|wte|embed_in", n))
    if source.shape(head) != source.shape(embed) or not np.array_equal(
        source.slices(head)[:], source.slices(embed)[:]
    ):
        raise UserError(
            f"{source.folder}: config.json ties the unembedding to the embedding, but "
            f"`{head}` differs from `{embed}`. If the model has a head of its own, set "
            '"tie_word_embeddings": false.'
        )
    source.forget(head)


def _listed(label: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f" {label}: " + ", ".join(f"`{n}`" for n in names[:5]) + f"{more}."
