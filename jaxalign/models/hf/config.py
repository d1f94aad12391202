"""`config.json` of a model folder to `ModelConfig`."""

import functools
import logging
import math
import pathlib
import warnings
from dataclasses import replace

from jaxalign.errors import UserError
from jaxalign.json_file import read_json
from jaxalign.models.config import ModelConfig
from jaxalign.models.folder.safetensors_folder import has_weights
from jaxalign.models.folder.weight_checks import embedding_rows, open_weights
from jaxalign.models.hf.families import check_architecture, model_config
from jaxalign.models.hf.fields import Fields
from jaxalign.models.param_shapes import flat_paths, param_shapes

# Bytes of a weight in half precision, the least that one takes.
_SMALLEST_FLOAT = 2
_FOLDER = "A model folder holds config.json, safetensors files and a tokenizer."
_LOG = logging.getLogger("jaxalign")


def read_config(folder: pathlib.Path | str) -> ModelConfig:
    """What the model in `folder` computes.

    Old and new spellings of `config.json` are read. Keys that do not change the
    mathematics are ignored; values that do and are not known are errors. If the
    weights are there, the sizes are compared with the files before anything is
    allocated, and rows that pad the embedding are counted.

    Args:
      folder: A Hugging Face model folder.

    Returns:
      The config.

    Raises:
      UserError: The file is absent or broken, a value is not known or not possible,
        or the files are too small for the model.
    """
    folder = pathlib.Path(folder)
    data = read_json(folder / "config.json", hint=_FOLDER)
    fields = Fields(data, str(folder / "config.json"))
    check_architecture(fields)
    if data.get("auto_map"):
        warnings.warn(
            f"{folder / 'config.json'} names code of its own (auto_map): not run.",
            stacklevel=2,
        )
    config = model_config(fields)
    if has_weights(folder):
        config = _compare_with_files(folder, config)
    return config


def _compare_with_files(folder: pathlib.Path, config: ModelConfig) -> ModelConfig:
    source = open_weights(folder, config)
    if source.forgotten:
        _tell_once(
            f"{folder} also reads images: only its language model is used, "
            f"{len(source.forgotten)} tensors of `vision_tower` and "
            "`multi_modal_projector` are left out, and an export is a text-only "
            "Gemma3ForCausalLM."
        )
    leaves = flat_paths(param_shapes(config)).values()
    wanted = _SMALLEST_FLOAT * sum(math.prod(leaf.shape) for leaf in leaves)
    if wanted > source.nbytes():
        raise UserError(
            f"{folder / 'config.json'} describes a model of at least {wanted:,} bytes, "
            f"but its weights are {source.nbytes():,} bytes. One of the two is of "
            "another model, or the files are cut short."
        )
    rows = embedding_rows(source, config)
    return replace(config, vocab_rows=rows) if rows > config.vocab_size else config


@functools.cache
def _tell_once(text: str) -> None:
    _LOG.warning(text)
