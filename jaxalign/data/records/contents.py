"""Prompts and responses of a row, checked, plain or as messages."""

from collections.abc import Mapping
from typing import Any

from jaxalign.data.records import checks
from jaxalign.data.records.calls import tools
from jaxalign.data.records.checks import Flaw, name_of_type
from jaxalign.data.records.formats import Format
from jaxalign.data.records.messages import check_roles, messages
from jaxalign.data.records.record import Content, Message


def common(
    row: Mapping[str, Any], left: Mapping[str, Any], format: Format, where: str
) -> dict[str, Any]:
    """What every record carries: its weight, what templates read, and what is left."""
    # A `weight` that is left over belongs to rewards and may be anything.
    weight = (
        checks.number(row.get("weight", 1.0), "weight") if "weight" not in left else 1
    )
    if weight < 0:
        raise Flaw(f"`weight` is {weight}, below 0", "Weights are 0 or more.")
    found = {"where": where, "weight": float(weight), "extra": dict(left)}
    if not format.conversational:
        return found
    kwargs = checks.parsed(row.get("chat_template_kwargs", {}), "chat_template_kwargs")
    if not isinstance(kwargs, Mapping):
        raise Flaw(
            f"`chat_template_kwargs` is {name_of_type(kwargs)}, not an object",
            'Write it as {"enable_thinking": false}.',
        )
    # Arrow's nulls; a template would take them for variables that were set.
    kwargs = {k: v for k, v in kwargs.items() if v is not None}
    return {**found, "template_kwargs": kwargs, "tools": tools(row)}


def content(row: Mapping[str, Any], column: str, format: Format, role: str) -> Content:
    """A column as text or messages; text becomes one turn of `role` where it must."""
    value = checks.need(row, column)
    if not format.conversational:
        if isinstance(value, list | tuple | Mapping):
            raise Flaw(
                f"`{column}` is {name_of_type(value)}, not text",
                "Write it as a string in each row of the file, or as messages in each.",
            )
        return checks.text(value, column)
    if isinstance(value, str):
        return (Message(role, checks.text(value, column)),)
    if isinstance(value, Mapping):
        value = [value]
    return messages(value, column)


def system(row: Mapping[str, Any], turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns behind the text of the column `system`, if there is one."""
    names = [name for name in ("system", "system_prompt") if name in row]
    # By text: two columns that say the same are one system message.
    texts = {checks.text(row[name], name, blank=True): name for name in names}
    texts.pop("", None)
    if not texts:
        return turns
    if len(texts) > 1:
        raise Flaw("the columns `system` and `system_prompt` differ", "Keep one.")
    ((text, name),) = texts.items()
    if not turns or turns[0].role not in ("system", "developer"):
        return (Message("system", text), *turns)
    if turns[0].content != text:
        raise Flaw(f"a column `{name}` and a system message", "Keep one of them.")
    return turns


def prompt(row: Mapping[str, Any], format: Format) -> Content:
    """The column `prompt`, with the column `system` before it."""
    prompt = content(row, "prompt", format, "user")
    if isinstance(prompt, str):
        return prompt
    return checked_prompt(system(row, prompt))


def checked_prompt(prompt: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns, if a completion can follow them; else `Flaw`."""
    check_roles(prompt, "prompt")
    if prompt[-1].role in ("system", "developer"):
        raise Flaw("`prompt` holds only a system message", "Add the user's turn.")
    if prompt[-1].role == "assistant":
        raise Flaw(
            "roles out of order: `prompt` ends with an assistant turn",
            "End it with the user's turn; the completion has a column of its own.",
        )
    return prompt


def response(row: Mapping[str, Any], column: str, format: Format) -> Content:
    """A column that holds a completion of the prompt."""
    response = content(row, column, format, "assistant")
    if not isinstance(response, str):
        checked_response(response, column)
    return response


def checked_response(turns: tuple[Message, ...], field: str) -> None:
    """Checks that turns can follow a prompt and that one of them is trained."""
    check_roles(turns, field, first="assistant")
    if not any(turn.role == "assistant" and turn.trained for turn in turns):
        raise Flaw(
            f"`{field}` has no turn that is to be trained",
            "Remove the row, or what keeps its turns from being trained.",
        )
