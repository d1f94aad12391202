"""The text files of an exported folder: config, tokenizer, templates, model card."""

import json
import pathlib
import re
import shutil
from typing import Any, NamedTuple

from jaxalign.models.config import ModelConfig
from jaxalign.models.hf_classifier import as_classifier
from jaxalign.models.hf_families import FAMILIES
from jaxalign.models.hf_write import config_json

_COPIED = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_NAMES_PAD = ("tokenizer_config.json", "special_tokens_map.json")


class PadToken(NamedTuple):
    """What the tokenizer of a model with a scalar head pads with.

    Attributes:
      id: Of the token; in no sequence the last one.
      text: Of the token.
    """

    id: int
    text: str


def write_texts(
    folder: pathlib.Path,
    config: ModelConfig,
    source: pathlib.Path | None,
    dtype: str,
    card: str | None,
    pad: PadToken | None,
) -> None:
    """Writes them into `folder`: those of `source`, byte for byte if nothing changed.

    Args:
      folder: Is there.
      config: What the weights belong to.
      source: The folder that the model came from, or None.
      dtype: Type of the weights.
      card: Text of `README.md`.
      pad: For a scalar head: what to pad with; None leaves it.
    """
    if source is None:
        _write_json(folder / "config.json", config_json(config, dtype))
    else:
        original = _with_dtype((source / "config.json").read_bytes(), dtype)
        (folder / "config.json").write_bytes(original)
        for name in _COPIED:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
    if config.head == "score":
        _describe_head(folder, config, pad)
    if card is not None:
        (folder / "README.md").write_text(card, "utf-8")


def _describe_head(folder, config: ModelConfig, pad: PadToken | None) -> None:
    architecture = FAMILIES[config.family][0]

    def head(data):
        return as_classifier(data, architecture, config, pad and pad.id)

    def padding(data):
        old = data.get("pad_token")
        old = old.get("content") if isinstance(old, dict) else old
        return (
            data if pad is None or old == pad.text else {**data, "pad_token": pad.text}
        )

    _edit(folder / "config.json", head)
    for name in _NAMES_PAD:
        if (folder / name).is_file():
            _edit(folder / name, padding)


def _edit(file: pathlib.Path, change) -> None:
    data = json.loads(file.read_text("utf-8"))
    changed = change(data)
    if changed != data:
        _write_json(file, changed)


def _write_json(file: pathlib.Path, data: dict[str, Any]) -> None:
    file.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _with_dtype(text: bytes, dtype: str) -> bytes:
    """The same bytes, with another value of `torch_dtype` or `dtype` if it differs."""
    found = rb'("(?:torch_)?dtype"\s*:\s*")\w+(")'
    return re.sub(found, rb"\g<1>" + dtype.encode() + rb"\g<2>", text)
