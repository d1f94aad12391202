"""Prompts and responses of a row, checked, plain or as messages."""

from collections.abc import Mapping
from typing import Any

from jaxalign.data.records import checks
from jaxalign.data.records.checks import Flaw, name_of_type
from jaxalign.data.records.formats import Format
from jaxalign.data.records.record import Content, Message

_COMMON = ("tools", "chat_template_kwargs", "system", "weight")


def common(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What every record carries, from the optional columns."""
    tools = checks.parsed(row.get("tools"), "tools")
    if tools is not None and not (
        isinstance(tools, list) and all(isinstance(t, Mapping) for t in tools)
    ):
        raise Flaw(
            "`tools` is not a list of objects", "Describe each tool as an object."
        )
    kwargs = checks.parsed(row.get("chat_template_kwargs", {}), "chat_template_kwargs")
    if not isinstance(kwargs, Mapping):
        raise Flaw(
            f"`chat_template_kwargs` is {name_of_type(kwargs)}, not an object",
            'Write it as {"enable_thinking": false}.',
        )
    weight = checks.number(row.get("weight", 1.0), "weight")
    if weight < 0:
        raise Flaw(f"`weight` is {weight}, below 0", "Weights are 0 or more.")
    kwargs = {k: v for k, v in kwargs.items() if v is not None}
    tools = tuple(tools) if tools else None
    return dict(where=where, tools=tools, template_kwargs=kwargs, weight=weight)


def extra(row: Mapping[str, Any], *used: str) -> dict[str, Any]:
    """The columns that are neither `used` nor carried by every record."""
    return {k: v for k, v in row.items() if k not in used and k not in _COMMON}


def need(row: Mapping[str, Any], column: str) -> Any:
    """The column's value; `Flaw` if the row has none."""
    if column not in row:
        has = ", ".join(sorted(row)) or "no column with a value"
        raise Flaw(
            f"no `{column}`; the row has {has}",
            f"Add it, or name the column: --columns {column}=NAME.",
        )
    return row[column]


def content(row: Mapping[str, Any], column: str, format: Format, role: str) -> Content:
    """A column as text or messages; text becomes one turn of `role` where it must."""
    value = need(row, column)
    if format.dress == "plain":
        return checks.text(value, column)
    if isinstance(value, str):
        return (Message(role, checks.text(value, column)),)
    if isinstance(value, Mapping):
        value = [value]
    return checks.messages(value, column)


def system(row: Mapping[str, Any], turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns behind the text of the column `system`, if there is one."""
    if "system" not in row:
        return turns
    text = checks.text(row["system"], "system", blank=True)
    if turns and turns[0].role in ("system", "developer"):
        raise Flaw("a column `system` and a system message", "Keep one of them.")
    return (Message("system", text), *turns) if text else turns


def prompt(row: Mapping[str, Any], format: Format) -> Content:
    """The column `prompt`, with the column `system` before it."""
    prompt = content(row, "prompt", format, "user")
    if isinstance(prompt, str):
        return prompt
    return checked_prompt(system(row, prompt))


def checked_prompt(prompt: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns, if an answer can follow them; else `Flaw`."""
    checks.check_order(prompt, "prompt")
    if prompt[-1].role in ("system", "developer"):
        raise Flaw("`prompt` holds only a system message", "Add the user's turn.")
    if prompt[-1].role == "assistant":
        raise Flaw(
            "roles out of order: `prompt` ends with an assistant turn",
            "End it with the user's turn; the answer has a column of its own.",
        )
    return prompt


def response(row: Mapping[str, Any], column: str, format: Format) -> Content:
    """A column that answers the prompt."""
    response = content(row, column, format, "assistant")
    if not isinstance(response, str):
        checks.check_order(response, column, first="assistant")
    return response
