"""Tools and calls of tools, as chat templates expect them: objects all the way down.

API logs hold the arguments of a call as JSON text, and flat tables whatever is nested;
templates write them with `tojson`, so text would come out quoted twice.
"""

from collections.abc import Mapping
from typing import Any

from jaxalign.data.records import checks
from jaxalign.data.records.checks import Flaw, name_of_type

_ARGUMENTS = ("arguments", "parameters")


def tool_calls(value: Any, field: str) -> list[dict[str, Any]]:
    """Calls with their arguments as objects.

    Args:
      value: a list of `{"function": {"name", "arguments"}}` or `{"name", "arguments"}`,
        or that as JSON text.
      field: where it stands.

    Raises:
      Flaw: if it is none, or arguments are not an object.

    >>> tool_calls([{"name": "add", "arguments": '{"a": 2, "b": null}'}], "tool_calls")
    [{'name': 'add', 'arguments': {'a': 2, 'b': None}}]
    """
    calls = checks.entries(checks.parsed(value, field), field)
    return [_call(call, f"{field}[{i}]") for i, call in enumerate(calls)]


def tools(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...] | None:
    """The tools that a row describes in its column `tools`.

    Raises:
      Flaw: if they are not a list of objects.
    """
    described = checks.parsed(row.get("tools"), "tools")
    return tuple(_objects(described, "tools")) if described else None


def with_tools(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with `functions`, as API logs once had them, under `tools`.

    A column of that name that describes no function stays what it is.

    Raises:
      Flaw: if the row has both.

    >>> with_tools({"functions": [{"name": "add"}]})
    {'tools': [{'type': 'function', 'function': {'name': 'add'}}]}
    """
    older = row.get("functions")
    if isinstance(older, str) and older.lstrip().startswith("["):
        older = checks.parsed(older, "functions")
    if not isinstance(older, list) or not older:
        return dict(row)
    if not all(isinstance(x, Mapping) and "name" in x for x in older):
        return dict(row)
    if row.get("tools"):
        raise Flaw("the row has both `tools` and `functions`", "Keep one of them.")
    made = [{"type": "function", "function": tool} for tool in older]
    return {**{k: v for k, v in row.items() if k != "functions"}, "tools": made}


def without_nulls(value: Any) -> Any:
    """The value without keys that hold null, which Arrow adds to fill its columns.

    >>> without_nulls({"a": 1, "b": None, "c": [{"d": None}, None]})
    {'a': 1, 'c': [{}, None]}
    """
    if isinstance(value, Mapping):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(v) for v in value]
    return value


def _objects(value: Any, field: str) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not a list of objects",
            "Describe the tools as a list with an object for each.",
        )
    tools = []
    for i, tool in enumerate(value):
        tool = checks.parsed(tool, f"{field}[{i}]")
        if not isinstance(tool, Mapping):
            raise Flaw(
                f"`{field}` is not a list of objects",
                "Describe each tool as an object.",
            )
        # Arrow fills each tool with the parameters of all others, as nulls.
        tools.append(_described(without_nulls(tool), f"{field}[{i}]"))
    return tools


def _described(tool: dict[str, Any], field: str) -> dict[str, Any]:
    """The tool with its `parameters` as an object."""
    if isinstance(tool.get("function"), Mapping):
        inner = _described(tool["function"], f"{field}.function")
        return {**tool, "function": inner}
    if isinstance(tool.get("parameters"), str):
        tool["parameters"] = _as_object(tool["parameters"], f"{field}.parameters")
    return tool


def _call(value: Any, field: str) -> dict[str, Any]:
    call = checks.parsed(value, field)
    if not isinstance(call, Mapping):
        raise Flaw(
            f"`{field}` is {name_of_type(call)}, not a tool call",
            'Calls look like {"function": {"name": "...", "arguments": {...}}}.',
        )
    if call.get("function") is not None:
        # The outer object holds `function` and perhaps an id, the inner one the call.
        inner = _call(call["function"], f"{field}.function")
        return {**without_nulls(call), "function": inner}
    made = {k: v for k, v in call.items() if v is not None}
    if not isinstance(made.get("name"), str) or not made["name"].strip():
        raise Flaw(
            f"`{field}` has no `name` of a function",
            'Calls look like {"function": {"name": "...", "arguments": {...}}}.',
        )
    for name in _ARGUMENTS:
        if name in made:
            made[name] = _as_object(made[name], f"{field}.{name}")
    return made


def _as_object(value: Any, field: str) -> dict[str, Any]:
    """An object, also from JSON text, whose nulls are the model's own and stay."""
    if not isinstance(value, str):
        value = without_nulls(value)
    elif not value.strip():
        value = {}  # API logs have it for calls without arguments
    else:
        value = checks.parsed(value, field)
    if not isinstance(value, Mapping):
        raise Flaw(
            f"`{field}` is {name_of_type(value)}, not an object",
            'Write arguments as an object, or as its JSON text: "{\\"a\\": 2}".',
        )
    return dict(value)
