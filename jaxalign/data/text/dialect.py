"""Messages as a chat template expects them: plain JSON, under the names that it reads.

Templates of different houses call one thing by different names, or want one thing in
different shapes. What a row says once is given in every way that is in use.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxalign.errors import UserError

THOUGHTS = ("reasoning_content", "thinking", "reasoning")
"""Names of a message's thoughts, the usual one first."""
PRIVATE = re.compile("[\U00100000-\U0010ffff]")
"""Private-use characters that mark contents while a template is rendered."""

_HALF = re.compile("[\ud800-\udfff]")


def to_json(value: Any) -> Any:
    """A copy made of JSON types alone; nothing else reaches a template.

    Raises:
      UserError: it holds another type, half a character, or one that marks contents.
    """
    # Before the numbers: int(True) would be 1.
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and _HALF.search(value):
        raise UserError(
            "A conversation holds half of a surrogate pair, which is no character."
            " Write the whole pair, or remove it."
        )
    if isinstance(value, str) and PRIVATE.search(value):
        raise UserError(
            "A conversation holds characters of the private-use plane 16, which"
            " mark the assistant's text. Remove them from the row."
        )
    # Subclasses carry methods of their own; a template gets the plain type.
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    raise UserError(f"A chat template got a value of type {type(value).__name__}.")


def for_template(
    messages: Sequence[Mapping[str, Any]],
    source: str,
    *,
    parts: bool = False,
    arguments_as_text: bool = False,
) -> list[dict[str, Any]]:
    """The messages as the template of that source reads them.

    Args:
      messages: `{"role", "content", ...}`, of plain JSON types.
      source: the template, which shows by what name it knows a thought.
      parts: contents are lists of parts, in place of text.
      arguments_as_text: the arguments of a call are JSON text, in place of an object.

    >>> turn = {"role": "assistant", "content": "4", "thinking": "2 + 2"}
    >>> for_template([turn], "{{ message.reasoning_content }}")[0]["reasoning_content"]
    '2 + 2'
    """
    return [
        _shaped(_with_thought(dict(message), source), parts, arguments_as_text)
        for message in messages
    ]


def _with_thought(message: dict[str, Any], source: str) -> dict[str, Any]:
    named = [message[name] for name in THOUGHTS if message.get(name) is not None]
    if not named:
        return message
    # As transformers does: the first of the names wins under `reasoning_content`.
    thought = {"thinking": named[0], **message, "reasoning_content": named[0]}
    if not re.search("reasoning_content|thinking", source):
        thought = {"reasoning": named[0], **thought}
    return thought


def _shaped(message: dict[str, Any], parts: bool, as_text: bool) -> dict[str, Any]:
    content = message.get("content")
    if parts and isinstance(content, str):
        message["content"] = [{"type": "text", "text": content}]
    if isinstance(message.get("tool_calls"), list):
        calls = message["tool_calls"]
        message["tool_calls"] = [_shaped_call(call, as_text) for call in calls]
    return message


def _shaped_call(call: Any, as_text: bool) -> Any:
    """A call with its arguments as an object, or as text; some name no `function`."""
    if not isinstance(call, Mapping):
        return call
    if isinstance(call.get("function"), Mapping):
        return {**call, "function": _shaped_call(call["function"], as_text)}
    if "arguments" not in call:
        return call
    return {**call, "arguments": _arguments(call["arguments"], as_text)}


def _arguments(given: Any, as_text: bool) -> Any:
    """Logs of chats hold the arguments as JSON text, templates write `| tojson`."""
    if isinstance(given, str):
        try:
            given = json.loads(given) if given.strip() else {}
        except ValueError as error:
            raise UserError(
                f"The `arguments` of a tool call are text that is not JSON ({error})."
                " Write an object, or the JSON text of one."
            ) from error
        if not isinstance(given, dict):
            raise UserError(
                "The `arguments` of a tool call are JSON text, but not of an object."
                " Write an object."
            )
    return json.dumps(given, ensure_ascii=False) if as_text else given
