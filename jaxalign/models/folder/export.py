"""Parameters to a folder that transformers, vLLM and `load_params` read."""

import json
import math
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from jaxalign.errors import UserError
from jaxalign.models.config import ModelConfig
from jaxalign.models.folder.export_chat import ChatTexts
from jaxalign.models.folder.export_texts import PadToken, write_texts
from jaxalign.models.folder.names import Tensor, part_columns, present_tensors
from jaxalign.models.folder.weight_checks import open_weights
from jaxalign.models.param_shapes import flat_paths, param_shapes

# As large as the shards of models on the hub usually are.
_MAX_SHARD_BYTES = 5 * 10**9
_DTYPES = {"float32": "F32", "bfloat16": "BF16"}


def export_model(
    folder: pathlib.Path | str,
    config: ModelConfig,
    params,
    *,
    source: pathlib.Path | str | None = None,
    dtype: Any = None,
    card: str | None = None,
    pad: PadToken | None = None,
    chat: ChatTexts | None = None,
    max_shard_bytes: int = _MAX_SHARD_BYTES,
) -> pathlib.Path:
    """Writes a model folder; it appears under its name only when it is whole.

    Tokenizer, chat template, generation config and config are those of `source`, byte
    for byte, but for the type named in `config.json` if the weights' type changes, for
    what `chat` adds, and for paths of the machine where they were written. Of a
    multimodal model the language model is written, as a text-only one.
    A model with a scalar head gets a `config.json` of sequence classification, which
    transformers loads with `num_labels` 1.

    Args:
      folder: To be made; it must not exist, or be empty.
      config: What `params` belong to.
      params: The parameter tree, on one or more devices of this process.
      source: The folder that the model was loaded from; None: there is none, and only
        weights and a `config.json` are written (Llama family only).
      dtype: float32 or bfloat16; default: that of the weights in `source`.
      card: Text of the model card, `README.md`.
      pad: For a scalar head: the token to pad with. transformers reads the score at
        the last token that is not this one, so no sequence may end in it; None keeps
        that of `source`.
      chat: The template that the run was given, and its stop tokens; None keeps what
        `source` has.
      max_shard_bytes: Longer weights are split into several files.

    Returns:
      The folder.

    Raises:
      UserError: The folder has content, or the type is none of the two.
      ValueError: The parameters do not belong to the config.
    """
    folder = pathlib.Path(folder)
    source = None if source is None else pathlib.Path(source)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder} exists and is not empty. Name a new folder, or remove it first."
        )
    dtype = jnp.dtype(_source_dtype(source, config) if dtype is None else dtype)
    if dtype.name not in _DTYPES:
        raise UserError(
            f"Weights are exported as float32 or bfloat16, not {dtype.name}."
        )
    _check_params(config, params)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    write_texts(partial, config, source, dtype.name, card=card, pad=pad, chat=chat)
    _write_weights(partial, config, params, dtype, max_shard_bytes)
    if folder.exists():
        folder.rmdir()
    return partial.rename(folder)


def _source_dtype(source: pathlib.Path | None, config: ModelConfig) -> str:
    """The type of the embedding in `source`; float32 without one, or for float16."""
    if source is None:
        return "float32"
    files = open_weights(source, config)
    names = {v: k for k, v in _DTYPES.items()}
    kinds = {files.slices(n).get_dtype() for n in files.names}
    # Of mixed types the wider one, so that nothing is lost.
    return names["BF16"] if kinds == {"BF16"} else names["F32"]


def _check_params(config: ModelConfig, params) -> None:
    wanted = {k: v.shape for k, v in flat_paths(param_shapes(config)).items()}
    given = {k: v.shape for k, v in flat_paths(params).items()}
    for path in sorted(wanted.keys() | given.keys()):
        if wanted.get(path) != given.get(path):
            raise ValueError(
                f"`{path}` has shape {given.get(path)} in these parameters; the config "
                f"asks for {wanted.get(path)}"
            )


def host_copy(leaf: jax.Array) -> np.ndarray:
    """The whole of a leaf, put together from the devices that hold it."""
    # Of what several devices hold, one copy.
    shards = [s for s in leaf.addressable_shards if s.replica_id == 0]
    if len(shards) == 1:
        return np.asarray(shards[0].data)
    out = np.empty(leaf.shape, leaf.dtype)
    for shard in shards:
        out[shard.index] = np.asarray(shard.data)
    return out


def checkpoint_tensors(
    config: ModelConfig, params, dtype: Any
) -> Iterator[tuple[str, np.ndarray]]:
    """`(name, array)` of every tensor of the checkpoint, one parameter at a time."""
    leaves = flat_paths(params)
    for tensor in present_tensors(config, leaves):
        parts = [host_copy(leaves[p]).astype(dtype) for p in tensor.parts]
        if "{}" not in tensor.name:
            yield tensor.name, _joined(tensor, parts, config)
            continue
        for layer in range(config.num_layers):
            of_layer = [part[layer] for part in parts]
            yield tensor.name.format(layer), _joined(tensor, of_layer, config)


def _joined(tensor: Tensor, parts: list[np.ndarray], config: ModelConfig) -> np.ndarray:
    widths = [part.shape[-1] for part in parts]
    out = np.empty((*parts[0].shape[:-1], sum(widths)), parts[0].dtype)
    for i, part in enumerate(parts):
        out[..., part_columns(tensor, widths, i, config.head_dim)] = part
    return np.ascontiguousarray(out.T if tensor.layout == "transposed" else out)


def _write_weights(folder, config, params, dtype, max_shard_bytes: int) -> None:
    """One file, or several and an index; never more than one file's worth in memory."""
    size = jnp.dtype(dtype).itemsize
    total = sum(size * math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    files, pending, pending_bytes = [], {}, 0

    def flush():
        file = f"model-{len(files) + 1:05}.safetensors"
        save_file(pending, folder / file, {"format": "pt"})
        files.append((file, list(pending)))
        pending.clear()

    for name, array in checkpoint_tensors(config, params, dtype):
        if pending and pending_bytes + array.nbytes > max_shard_bytes:
            flush()
            pending_bytes = 0
        pending[name] = array
        pending_bytes += array.nbytes
    flush()
    for file, _ in files:  # safetensors lets only the owner read them
        shutil.copymode(folder / "config.json", folder / file)
    _name_files(folder, files, total)


def _name_files(folder: pathlib.Path, files, total: int) -> None:
    if len(files) == 1:
        (folder / files[0][0]).rename(folder / "model.safetensors")
        return
    where = {}
    for i, (file, names) in enumerate(files):
        name = f"model-{i + 1:05}-of-{len(files):05}.safetensors"
        (folder / file).rename(folder / name)
        where.update(dict.fromkeys(names, name))
    index = {
        "metadata": {"total_size": total},
        "weight_map": dict(sorted(where.items())),
    }
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index, indent=2) + "\n", "utf-8")
