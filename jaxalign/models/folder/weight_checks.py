"""Whether the tensors of a folder are those of its `config.json`, by their headers."""

import pathlib
import re

import numpy as np

from jaxalign.errors import UserError
from jaxalign.models.config import ModelConfig
from jaxalign.models.folder.names import (
    BUFFERS,
    FAMILIES,
    PREFIXES,
    Tensor,
    present_tensors,
)
from jaxalign.models.folder.safetensors_folder import SafetensorsFolder
from jaxalign.models.param_shapes import flat_paths, param_shapes

_HEADS = ("unembed/kernel", "score/kernel")
_NOT_TEXT = re.compile(r"(model\.)?(vision_tower|multi_modal_projector)\.")
_LANGUAGE_MODEL = (
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
)
"""What the language model's names begin with in both spellings of a Gemma 3 that also
reads images, and alone."""


def open_weights(folder: pathlib.Path, config: ModelConfig) -> SafetensorsFolder:
    """The tensors of the language model in `folder`, by the names it has alone.

    Those that read images are forgotten.

    Args:
      folder: A model folder.
      config: What `read_config` returned for it.

    Raises:
      UserError: A file is absent, damaged or a pickle.
    """
    source = SafetensorsFolder(folder)
    if config.family == "gemma3_text":
        for name in sorted(filter(_NOT_TEXT.match, source.names)):
            source.forget(name)
        for name in sorted(source.names):
            for begin, alone in _LANGUAGE_MODEL:
                if name.startswith(begin):
                    source.rename(name, alone + name.removeprefix(begin))
                    break
    return source


def check_weights(folder: pathlib.Path, config: ModelConfig) -> None:
    """Compares the names, shapes and types of all tensors with the config.

    Only the headers of the files are read, but for a tied head that is there twice.

    Raises:
      UserError: A tensor is missing, unknown, misshapen or of a foreign type; the text
        names it.
    """
    leaves = flat_paths(param_shapes(config))
    source = open_weights(folder, config)
    check_names(source, config, present_tensors(config, leaves), leaves)


def check_names(
    source: SafetensorsFolder, config: ModelConfig, tensors: list[Tensor], leaves
) -> None:
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
    unlisted = source.unlisted & set(missing)
    if missing or extra:
        raise UserError(
            f"The weights in {source.folder} do not fit its config.json "
            f"(`{config.family}`, {config.num_layers} layers)."
            + _listed("Missing", missing)
            + _listed("Not known", extra)
            + _listed("In a file, but not in the index", sorted(unlisted))
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
