"""The text files of an exported folder: config, tokenizer, templates, model card."""

import json
import pathlib
import re
import shutil
from typing import Any, NamedTuple

from jaxalign.json_file import read_json
from jaxalign.models.config import ModelConfig
from jaxalign.models.folder.export_chat import ChatTexts, write_chat
from jaxalign.models.hf.classifier import as_classifier
from jaxalign.models.hf.families import FAMILIES, MULTIMODAL, text_fields
from jaxalign.models.hf.fields import Fields
from jaxalign.models.hf.write import config_json

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
NAMED_TEMPLATES = "additional_chat_templates"
"""Folder of the templates that are no default, as for tools."""
_MAY_NAME_CODE = ("config.json", "tokenizer_config.json")
_NAMES_PAD = ("tokenizer_config.json", "special_tokens_map.json")
_MAY_NAME_PATHS = ("config.json", "generation_config.json", *_NAMES_PAD)
# A quick look at the bytes: a file without such a value stays byte for byte.
_PERHAPS_PATH = re.compile(rb':\s*"(~|[A-Za-z]:)?[\\/]')
_LOCAL_PATH = re.compile(r"(~|[A-Za-z]:)?[\\/][^\n{}<>]*[\\/][^\n{}<>]*")


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
    *,
    card: str | None,
    pad: PadToken | None,
    chat: ChatTexts | None,
) -> None:
    """Writes them into `folder`: those of `source`, byte for byte if nothing changed.

    Args:
      folder: Is there.
      config: What the weights belong to.
      source: The folder that the model came from, or None.
      dtype: Type of the weights.
      card: Text of `README.md`.
      pad: For a scalar head: what to pad with; None leaves it.
      chat: What chats are rendered with and end in; None leaves it.
    """
    if source is None:
        _write_json(folder / "config.json", config_json(config, dtype))
    else:
        _write_config(folder / "config.json", source / "config.json", dtype)
        for name in _COPIED:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        if (source / NAMED_TEMPLATES).is_dir() and not (chat and chat.template):
            shutil.copytree(
                source / NAMED_TEMPLATES,
                folder / NAMED_TEMPLATES,
                ignore=lambda at, names: [x for x in names if x[-6:] != ".jinja"],
            )
    if config.head == "score":
        _describe_head(folder, config, pad)
    if chat is not None:
        write_chat(folder, chat)
    for name in _MAY_NAME_CODE:
        file = folder / name
        # As below: a file without the key stays byte for byte.
        if file.is_file() and b'"auto_map"' in file.read_bytes():
            _edit(file, without_code)
    for name in _MAY_NAME_PATHS:
        file = folder / name
        if file.is_file() and _PERHAPS_PATH.search(file.read_bytes()):
            _edit(file, without_local_paths)
    if card is not None:
        (folder / "README.md").write_text(card, "utf-8")


def _write_config(file: pathlib.Path, original: pathlib.Path, dtype: str) -> None:
    """The same bytes but for the type; of a multimodal model the language model's."""
    data = read_json(original)
    if data.get("model_type") not in MULTIMODAL:
        file.write_bytes(_with_dtype(original.read_bytes(), dtype))
        return
    text = text_fields(Fields(data, str(original))).data
    whole = ("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version")
    kept = {key: data[key] for key in whole if data.get(key) is not None}
    key = "dtype" if "dtype" in {**data, **text} else "torch_dtype"
    architecture = FAMILIES[text["model_type"]][0]
    new = {"architectures": [architecture], **text, **kept, key: dtype}
    if new["tie_word_embeddings"] is None:
        del new["tie_word_embeddings"]
    _write_json(file, new)


def without_code(data: dict[str, Any]) -> dict[str, Any]:
    """The same keys, but for the one that names code: its files are not copied.

    A loader that trusts code would look for them in vain.

    >>> without_code({"model_type": "phi3", "auto_map": {"AutoModel": "x.Model"}})
    {'model_type': 'phi3'}
    """
    return {key: value for key, value in data.items() if key != "auto_map"}


def without_local_paths(data: dict[str, Any]) -> dict[str, Any]:
    """The same keys, of which none names a folder of the machine that wrote them.

    >>> without_local_paths({"_name_or_path": "/home/me/llama", "eos_token": "</s>"})
    {'_name_or_path': 'llama', 'eos_token': '</s>'}
    """
    cleaned = {}
    for key, value in data.items():
        local = isinstance(value, str) and _LOCAL_PATH.fullmatch(value)
        if not local or key.endswith("_token"):
            cleaned[key] = value
        elif not key.endswith("_file"):  # of these nobody has the file
            cleaned[key] = re.split(r"[\\/]", value.rstrip("/\\"))[-1]
    return cleaned


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
    data = read_json(file)
    changed = change(data)
    if changed != data:
        _write_json(file, changed)


def _write_json(file: pathlib.Path, data: dict[str, Any]) -> None:
    file.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _with_dtype(text: bytes, dtype: str) -> bytes:
    """The same bytes, with another value of `torch_dtype` or `dtype` if it differs."""
    found = rb'("(?:torch_)?dtype"\s*:\s*")\w+(")'
    return re.sub(found, rb"\g<1>" + dtype.encode() + rb"\g<2>", text)
