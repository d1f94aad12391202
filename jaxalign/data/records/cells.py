"""Columns in the wrappings of flat files: JSON text in cells, one struct of lists."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jaxalign.data.records.checks import Flaw
from jaxalign.data.sources import strict_json

CONTENTS = (
    *("messages", "conversations", "prompt", "completion", "completions"),
    *("chosen", "rejected"),
)
"""Columns that may hold messages."""

_LISTS = ("messages", "conversations", "completions", "ranks", "scores", "history")
# What str() makes of a list of messages, as tables saved as CSV have it.
_PYTHON = re.compile(r"\s*\[?\{'(role|content|from|value)':")


def unwrapped(row: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """The row with lists where a cell holds their JSON text, or one struct of lists.

    Text that is a JSON list of turns becomes that list in every column that may hold
    messages; other JSON text only in columns that must hold lists.

    Args:
      row: columns under their standard names.
      columns: those that are looked at.

    Raises:
      Flaw: for messages as Python prints them, which are no JSON.

    >>> unwrapped({"chosen": '[{"role": "user", "content": "hi"}]'}, ["chosen"])
    {'chosen': [{'role': 'user', 'content': 'hi'}]}
    """
    out = dict(row)
    for name in columns:
        value = out.get(name)
        if isinstance(value, str):
            out[name] = _from_text(value, name)
        elif isinstance(value, Mapping):
            out[name] = _from_struct(value)
        elif isinstance(value, list) and name in CONTENTS:
            out[name] = _from_texts(value)
    return out


def _from_text(text: str, name: str) -> Any:
    if name in CONTENTS and _PYTHON.match(text):
        raise Flaw(
            f"`{name}` holds messages as Python prints them, not as JSON",
            "Write the column with json.dumps, or as a list.",
        )
    if not text.lstrip().startswith("["):
        return text
    try:
        # As lines of JSON are: of two equal keys nobody knows which one is meant.
        value = strict_json.loads(text)
    except strict_json.TwiceError as error:
        if name in CONTENTS:
            raise Flaw(f"`{name}`: {error}", "Remove one of them.") from None
        return text
    except (ValueError, RecursionError):
        # A text may begin with a bracket and be no list.
        return text
    if name in CONTENTS and _is_turns(value):
        return value
    # Ids and masks, ranks and scores; a prompt may be any text, also a JSON list.
    must = name in _LISTS or name.endswith(("ids", "mask", "masks", "labels"))
    return value if must and isinstance(value, list) else text


def _is_turns(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(x, Mapping) and ("role" in x or "from" in x) for x in value)
    )


def _from_texts(values: list[Any]) -> list[Any]:
    """A list of messages, each of them JSON text, as a list of objects."""
    if not all(isinstance(v, str) and v.lstrip().startswith("{") for v in values):
        return values
    try:
        turns = [strict_json.loads(v) for v in values]
    except (ValueError, RecursionError):
        return values
    return turns if _is_turns(turns) else values


def _from_struct(value: Mapping[str, Any]) -> Any:
    """`{"role": [...], "content": [...]}` as a list of messages."""
    lists = [v for v in value.values() if v is not None]
    keys = [k for k, v in value.items() if v is not None]
    who = value.get("role", value.get("from"))
    if not isinstance(who, list) or not all(isinstance(v, list) for v in lists):
        return value
    if len({len(v) for v in lists}) != 1:
        return value
    return [dict(zip(keys, turn, strict=True)) for turn in zip(*lists, strict=True)]
