"""The small text files of a tokenizer's folder, each key checked when it is read."""

import pathlib
from collections.abc import Mapping
from typing import Any

from jaxalign.errors import UserError
from jaxalign.json_file import read_json

_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token")
# Arrays of ids are int32.
_MOST_ID = 1 << 31


def read_optional(file: pathlib.Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file."""
    return read_json(file) if file.exists() else {}


def special_tokens(folder: pathlib.Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Texts of the special tokens by name; the config wins over the older map.

    Args:
      folder: That may hold a `special_tokens_map.json`.
      config: What `tokenizer_config.json` says.
    """
    older = folder / "special_tokens_map.json"
    texts = {}
    for name in _SPECIAL:
        for file, data in (
            (folder / "tokenizer_config.json", config),
            (older, read_optional(older)),
        ):
            if name not in data:
                continue
            value = data[name]
            text = value.get("content") if isinstance(value, Mapping) else value
            if text is not None and not isinstance(text, str):
                raise UserError(
                    f"{file}: `{name}` is {repr(value)[:80]}; the token's text is "
                    "wanted, or an object with its `content`. Correct the file."
                )
            if text:
                texts[name] = text
            # A null in the config says that there is no such token: the older map is
            # not asked.
            break
    return texts


def stop_ids_of(folder: pathlib.Path) -> set[int]:
    """The `eos_token_id` of a model folder: none, one or several ids.

    `generation_config.json` says it; where there is none, the model's own config.
    """
    file = folder / "generation_config.json"
    file = file if file.exists() else folder / "config.json"
    found = read_optional(file).get("eos_token_id")
    ids = found if isinstance(found, list) else [] if found is None else [found]
    for x in ids:
        if not isinstance(x, int) or isinstance(x, bool) or not 0 <= x < _MOST_ID:
            raise UserError(
                f"{file}: `eos_token_id` is {repr(found)[:80]}; a token's id is "
                "wanted, or a list of them. Correct the file."
            )
    return set(ids)


def flag_of(file: pathlib.Path, config: Mapping[str, Any], key: str) -> bool | None:
    """A key that is true or false, or None if it is absent or null."""
    value = config.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise UserError(
        f"{file}: `{key}` is {repr(value)[:80]}; true or false is wanted. Correct the "
        "file."
    )
