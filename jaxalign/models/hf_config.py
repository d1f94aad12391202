"""`config.json` of a model folder to `ModelConfig`."""

import json
import math
import pathlib
import warnings
from dataclasses import replace

from jaxalign.errors import UserError
from jaxalign.models.config import ModelConfig
from jaxalign.models.fields import Fields
from jaxalign.models.hf_families import model_config
from jaxalign.models.safetensors_folder import SafetensorsFolder
from jaxalign.models.weights import embedding_rows, flat_paths, param_shapes

_SMALLEST_FLOAT = 2


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
    data = read_json(folder / "config.json")
    if data.get("auto_map"):
        warnings.warn(
            f"{folder / 'config.json'} names code of its own (auto_map): not run.",
            stacklevel=2,
        )
    config = model_config(Fields(data, str(folder / "config.json")))
    if any(folder.glob("model*.safetensors")):
        config = _compare_with_files(folder, config)
    return config


def read_json(path: pathlib.Path) -> dict:
    """The JSON object in a file; `UserError` if it is not one."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is not there. A model folder holds config.json, safetensors files "
            "and a tokenizer."
        ) from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON: {error}.") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} holds a {type(data).__name__}, not an object.")
    return data


def _compare_with_files(folder: pathlib.Path, config: ModelConfig) -> ModelConfig:
    source = SafetensorsFolder(folder)
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
