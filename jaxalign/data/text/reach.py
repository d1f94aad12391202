"""Which parts of a conversation its rendered text lacks.

A template may pass over what it does not know: tools, calls, thoughts, whole roles. A
model must not be trained as if it had read what it has not.
"""

import collections
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxalign.data.text.dialect import THOUGHTS
from jaxalign.data.text.marking import Unit
from jaxalign.data.text.reading import Ask, Reading, Render


class Missing(NamedTuple):
    """Something that the text lacks.

    Attributes:
      unit: what it is.
      part: whether the text has some of it.
    """

    unit: Unit
    part: bool = False


def missing_units(
    render: Render, ask: Ask, text: str, reading: Reading | None
) -> list[Missing]:
    """What the conversation says and the text does not.

    A unit without a mark in the text is missing if it was marked; if it was not, it is
    changed, and missing if the rendering stays the same.

    Args:
      render: the template.
      ask: what is rendered.
      text: its plain rendering.
      reading: the same with marks, or None where they change the text.
    """
    seen = reading.seen if reading else set()
    marked = set(reading.marked.units) if reading else set()
    unseen = [unit for unit in _units(ask) if unit not in seen]
    # What marks cannot show costs a rendering each.
    doubtful = [unit for unit in unseen if unit not in marked]
    said = render([_without(ask, unit) for unit in doubtful]) if doubtful else []
    same = {unit for unit, x in zip(doubtful, said, strict=True) if x == text}
    found = [Missing(unit) for unit in unseen if unit in same or unit in marked]
    return found + (_cut_units(reading) if reading else [])


def _cut_units(reading: Reading) -> list[Missing]:
    """Of what there is a part in the text.

    A piece that is there has both of its marks. Pieces of an assistant's content that
    are not there are thoughts: it is marked in pieces at their tags.
    """
    opened, closed = (
        collections.Counter(x.unit for x in reading.marks if x.closes == closes)
        for closes in (False, True)
    )
    found = []
    for number, unit in enumerate(reading.marked.units):
        if opened[number] != closed[number]:
            found.append(Missing(unit, part=True))
        elif (
            unit.kind == "content"
            and 0 < opened[number] < reading.marked.pieces[number]
        ):
            found.append(Missing(Unit("thought", unit.message)))
    return found


def _units(ask: Ask) -> list[Unit]:
    """All that a conversation says."""
    units = []
    for i, message in enumerate(ask.messages):
        if _says(message.get("content")):
            units.append(Unit("content", i))
        if any(_says(message.get(name)) for name in THOUGHTS):
            units.append(Unit("thought", i))
        for j, call in enumerate(calls_of(message)):
            units.append(Unit("call", i, j))
            if call.get("arguments"):
                units.append(Unit("arguments", i, j))
    return units + [Unit("tool", -1, k) for k in range(len(ask.tools or ()))]


def _says(content: Any) -> bool:
    if isinstance(content, list):
        return any(isinstance(x, Mapping) and _says(x.get("text")) for x in content)
    return isinstance(content, str) and bool(content.strip())


def calls_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The calls of a message, each with `name` and `arguments`."""
    calls = message.get("tool_calls")
    found = []
    for call in calls if isinstance(calls, list) else []:
        inner = call.get("function") if isinstance(call, Mapping) else None
        call = inner if isinstance(inner, Mapping) else call
        found.append(call if isinstance(call, Mapping) else {"name": str(call)})
    return found


def _without(ask: Ask, unit: Unit) -> Ask:
    """The conversation with another unit in the place of that one."""
    if unit.kind == "tool":
        assert ask.tools is not None
        # Templates ask whether there are tools at all.
        tools = [x for k, x in enumerate(ask.tools) if k != unit.part]
        return ask._replace(tools=tools or None)
    messages = [dict(message) for message in ask.messages]
    message = messages[unit.message]
    if unit.kind == "content":
        content = message["content"]
        other = "x" if isinstance(content, str) else [{"type": "text", "text": "x"}]
        message["content"] = other
    elif unit.kind == "thought":
        message |= {name: "x" for name in THOUGHTS if name in message}
    else:
        calls = list(message["tool_calls"])
        calls[unit.part] = _other_call(calls[unit.part], unit.kind)
        message["tool_calls"] = calls
    return ask._replace(messages=messages)


def _other_call(call: Any, kind: str) -> Any:
    if not isinstance(call, Mapping):
        return "x"
    if isinstance(call.get("function"), Mapping):
        return {**call, "function": _other_call(call["function"], kind)}
    if kind == "call":
        return {**call, "name": f"{call.get('name')}_x"}
    text = isinstance(call["arguments"], str)
    return {**call, "arguments": '{"x": "x"}' if text else {"x": "x"}}


def left_out(missing: Missing, ask: Ask) -> str | None:
    """What to tell of a loss that widely used templates bring about, or None.

    They leave out thoughts of earlier turns, text beside a call, and, where the last
    message is not a user's, the system's. Everything else is a fault.
    """
    unit = missing.unit
    if unit.kind == "thought":
        return "thoughts"
    if unit.kind != "content" or missing.part:
        return None
    message = ask.messages[unit.message]
    if message.get("role") in ("system", "developer"):
        return "system messages"
    return "text beside a call" if calls_of(message) else None


def in_words(missing: Missing, ask: Ask) -> str:
    """What is missing, for messages."""
    unit = missing.unit
    if unit.kind == "tool":
        assert ask.tools is not None
        return f"the tool {_name(ask.tools[unit.part])}"
    message = ask.messages[unit.message]
    where = f"message {unit.message} ({message.get('role')})"
    if unit.kind == "content":
        return f"{'a part of ' * missing.part}the content of {where}"
    call = f"the call of {_name(calls_of(message)[unit.part])} in {where}"
    return call if unit.kind == "call" else f"the arguments of {call}"


def _name(tool: Mapping[str, Any]) -> str:
    inner = tool.get("function")
    named = inner if isinstance(inner, Mapping) else tool
    return repr(named.get("name", "without a name"))
