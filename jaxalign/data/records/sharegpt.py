"""Turns of `conversations`, as ShareGPT and those after it write them."""

from collections.abc import Mapping
from typing import Any

from jaxalign.data.records import checks
from jaxalign.data.records.checks import Flaw

# A speaker that is not listed is refused: a guess would train the wrong side.
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "system": "system",
    "developer": "developer",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
}


def turns_of(value: Any, field: str) -> list[dict[str, Any]]:
    """Turns as messages; what else a turn holds stays, for the checks of messages.

    Args:
      value: a list of `{"from", "value"}`, or of `{"role", "content"}`.
      field: the column.

    Raises:
      Flaw: if it is no such list, a speaker is unknown, or a turn says two things.

    >>> turns_of([{"from": "gpt", "value": "hi", "weight": 0}], "conversations")
    [{'role': 'assistant', 'content': 'hi', 'weight': 0}]
    """
    if not isinstance(value, list | tuple) or not value:
        what = "an empty list" if value in ([], ()) else checks.name_of_type(value)
        raise Flaw(
            f"`{field}` is {what}, not a list of turns",
            'ShareGPT turns look like {"from": "human", "value": "..."}.',
        )
    return [_turn(turn, f"{field}[{i}]") for i, turn in enumerate(value)]


def _turn(turn: Any, field: str) -> dict[str, Any]:
    if not isinstance(turn, Mapping):
        raise Flaw(
            f"`{field}` is {checks.name_of_type(turn)}, not a turn",
            'ShareGPT turns look like {"from": "human", "value": "..."}.',
        )
    keys = {k: v for k, v in turn.items() if v is not None}
    who, said = _one(keys, "from", "role", field), _one(keys, "value", "content", field)
    if not isinstance(who, str) or who not in _ROLES:
        raise Flaw(
            f"`{field}.from` is {who!r}", f"Known are {', '.join(sorted(_ROLES))}."
        )
    if who == "function_call":
        # The turn's text is the call; an object or a list of them.
        calls = checks.parsed(said, f"{field}.value")
        calls = calls if isinstance(calls, list) else [calls]
        made = [{"type": "function", "function": call} for call in calls]
        return {"role": "assistant", "content": None, **keys, "tool_calls": made}
    return {"role": _ROLES[who], "content": said, **keys}


def _one(keys: dict[str, Any], name: str, other: str, field: str) -> Any:
    """The value under either name; both are taken out of the keys."""
    values = [keys.pop(k) for k in (name, other) if k in keys]
    if len(values) == 2 and values[0] != values[1]:
        raise Flaw(f"`{field}` has both `{name}` and `{other}`", "Keep one of them.")
    return values[0] if values else None
