"""Which settings are paths, and what they are seen from.

A relative path is seen from the folder that the command is started in, whether it
stands in a flag or in a YAML file. It is made absolute once, where settings are read:
the run's records and `jaxalign export` then mean the same place from anywhere.
"""

import dataclasses
import glob
import os
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

C = TypeVar("C")


def place(text: str) -> str:
    """A file or folder that is written: always a path."""
    # An address is refused later, in words of its own.
    if re.match(r"\w+:/", text):
        return text
    return _absolute(text)


def found(text: str) -> str:
    """A file or folder that is there; a name of something else stays as it is.

    >>> found("HuggingFaceTB/SmolLM2-135M")
    'HuggingFaceTB/SmolLM2-135M'
    """
    return _absolute(text) if Path(os.path.expanduser(text)).exists() else text


def template(text: str) -> str:
    """A template's file; the name of a built-in one stays, as it goes before files.

    >>> template("chatml")
    'chatml'
    """
    from jaxalign.data.text.templates import BUILTIN

    return text if text.removesuffix(".training") in BUILTIN else found(text)


def rows(text: str) -> str:
    """What `--data` takes: each file, folder or pattern in the list.

    >>> rows("tfds:gsm8k:train,gs://bucket/rows.jsonl:0.5")
    'tfds:gsm8k:train,gs://bucket/rows.jsonl:0.5'
    """
    # A path that exists may hold commas.
    if os.path.exists(os.path.expanduser(text)):
        return found(text)
    # Made absolute here, a path would be divided at the signs of its folders.
    if not _is_plain(os.getcwd(), ",:[]*?"):
        return text
    parts = re.split(r",(?![^\[]*\])", text)
    return ",".join(_source(part.strip()) for part in parts)


def reward(text: str) -> str:
    """What `--reward` takes: the file or folder in front, and those in brackets.

    >>> reward("exact_match(column=gold)=0.5")
    'exact_match(column=gold)=0.5'
    """
    # As in `rows`: the folder's own signs would be read as the reward's.
    if not _is_plain(os.getcwd(), ",:=()'\""):
        return text
    head, bracket, given = text.partition("(")
    ends = [len(head), *(m.start() for m in re.finditer("[:=]", head))]
    # The longest first, because a name may hold these signs itself.
    for end in sorted(ends, reverse=True):
        if Path(os.path.expanduser(head[:end])).exists():
            head = found(head[:end]) + head[end:]
            break
    served = re.search(r"\burl\s*=", given)  # by a server: the model is no folder
    names = "template" if served else "model|template"
    given = re.sub(
        rf"""\b((?:{names})\s*=\s*["']?)([^,)"']+)""",
        lambda match: match[1] + found(match[2].strip()),
        given,
    )
    return head + bracket + given


Place = Annotated[str, place]
"""Where something is written, or a run lies."""
Found = Annotated[str, found]
"""A model's folder or its name on the hub; a file."""
TemplateAt = Annotated[str, template]
"""A chat template's file or its name."""
RowsAt = Annotated[str, rows]
"""Rows, as `--data` takes them."""
RewardAt = Annotated[str, reward]
"""A reward, as `--reward` takes it."""


def with_absolute_paths(config: C) -> C:
    """The settings, with every path as it is seen from the current folder."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    changes = {}
    for field in dataclasses.fields(config):  # pyright: ignore[reportArgumentType]
        value, convert = getattr(config, field.name), _conversion(hints[field.name])
        if convert is not None and isinstance(value, str):
            changes[field.name] = convert(value)
        elif convert is not None and isinstance(value, tuple):
            changes[field.name] = tuple(map(convert, value))
    # Then the same object: its checks need not run twice.
    if all(getattr(config, name) == value for name, value in changes.items()):
        return config
    return dataclasses.replace(config, **changes)  # pyright: ignore


def _conversion(hint: Any) -> Callable[[str], str] | None:
    """What is done to a setting of that type; None: it is no path."""
    ours = (place, found, template, rows, reward)
    for about in getattr(hint, "__metadata__", ()):
        if about in ours:
            return about
    inner = (_conversion(x) for x in typing.get_args(hint))
    return next((x for x in inner if x is not None), None)


def _source(part: str) -> str:
    """One of the sources in a list, with its split or weight behind a colon."""
    if part.startswith("tfds:") or re.match(r"\w+://", part):
        return part
    ends = [len(part), *(m.start() for m in re.finditer(":", part))]
    # The longest first, because a name may hold a colon itself.
    for end in sorted(ends, reverse=True):
        name = os.path.expanduser(part[:end])
        if os.path.exists(name) or glob.glob(name, recursive=True):
            return _absolute(name) + part[end:]
    return part


def _absolute(text: str) -> str:
    """The path from the root, without `..` where that is the same place."""
    path = Path(os.path.expanduser(text)).absolute()
    tidy = os.path.normpath(path)
    # `link/..` is another place where the link leads out of its folder.
    same = os.path.realpath(tidy) == os.path.realpath(path)
    return tidy if same else str(path)


def _is_plain(folder: str, signs: str) -> bool:
    """Whether a folder can stand in a list: its name has none of the list's signs."""
    return not set(signs) & set(folder)
