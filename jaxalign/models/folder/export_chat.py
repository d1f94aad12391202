"""What a run's chats were rendered with and ended in, into an exported folder."""

import json
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from jaxalign.json_file import read_json

_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


class ChatTexts(NamedTuple):
    """What a server must know to go on as in training.

    Attributes:
      template: The chat template in Jinja; None where it is the folder's own.
      stop_ids: Ids of the tokens after which a completion is over.
    """

    template: str | None = None
    stop_ids: Iterable[int] = ()


def write_chat(folder: pathlib.Path, chat: ChatTexts) -> None:
    """Puts them into the texts of a model folder; what is there already is left alone.

    Args:
      folder: Holds the texts of the model that training began with.
      chat: What the run used.
    """
    if chat.template is not None:
        _write_template(folder, chat.template)
    _add_stops(folder, chat.stop_ids)


def _write_template(folder: pathlib.Path, template: str) -> None:
    """As `chat_template.jinja`, and as the older key where that is in use."""
    (folder / "chat_template.jinja").write_text(template, "utf-8")
    (folder / "chat_template.json").unlink(missing_ok=True)
    file = folder / "tokenizer_config.json"
    data = read_json(file) if file.is_file() else {}
    # Readers of the older key must not find another template there.
    if data.get("chat_template") not in (None, template):
        _write(file, {**data, "chat_template": template})


def _add_stops(folder: pathlib.Path, stop_ids: Iterable[int]) -> None:
    """To `generation_config.json`: without them, servers would never stop."""
    file = folder / "generation_config.json"
    if file.is_file():
        data = read_json(file)
    else:  # then generation reads these keys of the model's config
        config = read_json(folder / "config.json")
        data = {k: config[k] for k in _TOKENS if config.get(k) is not None}
    known = data.get("eos_token_id")
    known = known if isinstance(known, list) else [] if known is None else [known]
    new = sorted(set(stop_ids) - set(known))
    if new:
        ids = [*known, *new]
        _write(file, {**data, "eos_token_id": ids if len(ids) > 1 else ids[0]})


def _write(file: pathlib.Path, data: dict[str, Any]) -> None:
    file.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", "utf-8")
