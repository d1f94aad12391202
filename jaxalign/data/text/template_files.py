"""Where chat templates are from: the package, a file, a model folder."""

import importlib.resources
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxalign.data.text.templates import BUILTIN, ChatTemplate
from jaxalign.errors import UserError
from jaxalign.json_file import read_json, read_text


def builtin_template(
    name: str, variables: Mapping[str, Any] | None = None
) -> ChatTemplate:
    """The template of that name; `NAME.training` is the twin with generation blocks.

    Raises:
      UserError: there is none of that name.
    """
    if name.removesuffix(".training") not in BUILTIN:
        raise UserError(
            f"There is no built-in chat template {name!r}. There are"
            f" {', '.join(BUILTIN)}, each also with `.training` behind it."
        )
    folder = importlib.resources.files("jaxalign.data.text") / "builtin_templates"
    source = (folder / f"{name}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(source, name, variables or {})


def read_template(
    folder: pathlib.Path,
    variables: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> ChatTemplate | None:
    """The checkpoint's own template: `chat_template.jinja`, else the config's key.

    Of several with names, `default` is used, and `tool_use` for rows with tools, as
    transformers does.

    Args:
      folder: of the model.
      variables: what the template may read besides the messages.
      name: which of several; None for those that rows ask for.

    Raises:
      UserError: a file is damaged, or there is none of that name.
    """
    named, where = _named_templates(folder)
    if name is not None and name not in named:
        raise UserError(
            f"--chat-template {name!r} is neither a file nor one of"
            f" {', '.join(BUILTIN)} (each also with `.training` behind it)"
            f"{', nor one of ' + ', '.join(named) if len(named) > 1 else ''}."
        )
    if not named:
        return None

    def template(key: str, **fields: Any) -> ChatTemplate:
        called = where if len(named) == 1 else f"{where} ({key})"
        return ChatTemplate(named[key], called, variables or {}, **fields)

    if name is not None:
        return template(name)
    for_tools = template("tool_use") if "tool_use" in named else None
    if "default" in named:
        return template("default", for_tools=for_tools)
    # An error only when it is used: rows with tools may have a template of theirs.
    listed = ", ".join(sorted(named))
    reason = f"it has several templates ({listed}) and none of them is named default"
    refuses = f"{{{{ raise_exception({json.dumps(reason)}) }}}}"
    return ChatTemplate(refuses, where, variables or {}, for_tools)


def _named_templates(folder: pathlib.Path) -> tuple[dict[str, str], str]:
    """The templates of a model folder by name, and where they are from."""
    file = folder / "chat_template.jinja"
    more = sorted((folder / "additional_chat_templates").glob("*.jinja"))
    if file.exists() or more:
        files = {"default": file} if file.exists() else {}
        files |= {x.stem: x for x in more}
        where = str(file if len(files) == 1 and file.exists() else folder)
        return {k: read_text(x) for k, x in files.items()}, where
    # Processors of models that also read pictures keep the template in a third place.
    for name in ("tokenizer_config.json", "chat_template.json"):
        file = folder / name
        given = read_json(file).get("chat_template") if file.exists() else None
        if given is not None:
            return _by_name(given, file), f"of {file}"
    return {}, str(folder)


def _by_name(given: Any, file: pathlib.Path) -> dict[str, str]:
    """What a key `chat_template` holds: one template, or several with names."""
    if isinstance(given, str):
        return {"default": given}
    if isinstance(given, Mapping):
        given = [{"name": k, "template": v} for k, v in given.items()]
    if not isinstance(given, list):
        raise UserError(
            f"{file}: `chat_template` is {repr(given)[:80]}, no text. Correct the file."
        )
    named = {}
    for x in given:
        pair = (x.get("name"), x.get("template")) if isinstance(x, Mapping) else (0, 0)
        if not all(isinstance(text, str) for text in pair):
            raise UserError(
                f"{file}: `chat_template` is a list, but not of objects with a `name` "
                "and a `template`. Correct the file."
            )
        named[pair[0]] = pair[1]
    return named
