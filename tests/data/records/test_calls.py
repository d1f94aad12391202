"""Tools and calls of tools reach templates as objects, whatever wrapped them."""

import json
from typing import Any

import pytest

from jaxalign.data.records.build_records import to_record
from jaxalign.data.records.formats import detect
from jaxalign.data.records.layouts import Task
from jaxalign.errors import RowError

ASKED = {"role": "user", "content": "rain in Oslo?"}
SAID = {"role": "assistant", "content": "Yes."}
CALL = {"type": "function", "function": {"name": "rain", "arguments": {"city": "Oslo"}}}


def record(row, task: Task = "sft") -> Any:
    return to_record(row, detect(row, row, task), "here")


def calls_of(message):
    row = {"messages": [ASKED, {"role": "assistant", **message}]}
    return record(row).messages[1].extra


def with_arguments(arguments):
    return {"function": {"name": "rain", "arguments": arguments}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"city": "Oslo"}, {"city": "Oslo"}),
        ('{"city": "Oslo", "days": 2}', {"city": "Oslo", "days": 2}),
        ('{"city": null}', {"city": None}),  # the model's own null
        ({"city": "Oslo", "days": None}, {"city": "Oslo"}),  # Arrow's
        (
            {"at": {"x": 1, "y": None}, "of": [{"z": None}]},
            {"at": {"x": 1}, "of": [{}]},
        ),
        ("", {}),
        ("{}", {}),
    ],
)
def test_arguments_are_objects_decoded_once(given, expected):
    for call in (with_arguments(given), with_arguments(given)["function"]):
        (found,) = calls_of({"tool_calls": [call]})["tool_calls"]
        assert found.get("function", found)["arguments"] == expected
    whole = calls_of({"tool_calls": json.dumps([with_arguments(given)])})
    if isinstance(given, str):
        assert whole["tool_calls"][0]["function"]["arguments"] == expected


def test_nulls_that_fill_columns_are_dropped():
    call = {**CALL, "id": None, "index": None}
    call["function"] = {**CALL["function"], "description": None}
    found = calls_of({"content": None, "tool_calls": [call], "name": None})
    assert found == {"tool_calls": [CALL]}
    tool = {"name": "rain", "parameters": {"properties": {"city": {}, "zip": None}}}
    row = {"messages": [ASKED, SAID], "tools": [tool]}
    found = record(row).tools
    assert found == ({"name": "rain", "parameters": {"properties": {"city": {}}}},)


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        ([with_arguments("{city: Oslo}")], r"arguments` is text that is not JSON"),
        ([with_arguments('{"a": NaN}')], "NaN is not JSON"),
        ([with_arguments('{"a": 1, "a": 2}')], 'the key "a" stands twice'),
        ([with_arguments('"{}"')], r"arguments` is text, not an object"),
        ([with_arguments("[1]")], r"calls\[0\].function.arguments` is a list, not an"),
        ([with_arguments(5)], r"arguments` is a number \(5\), not an object"),
        ([{"function": {"arguments": {}}}], "has no `name` of a function"),
        (["rain"], "is text that is not JSON"),
        ([7], r"tool_calls\[0\]` is a number \(7\), not a tool call"),
        ({"name": "rain"}, "tool_calls` is an object, not a list"),
    ],
)
def test_calls_that_are_none_are_refused(calls, said):
    with pytest.raises(RowError, match=said):
        calls_of({"content": "", "tool_calls": calls})


def test_calls_as_they_were_once():
    old = {"name": "rain", "arguments": '{"city": "Oslo"}'}
    assert calls_of({"content": None, "function_call": old}) == {"tool_calls": [CALL]}
    row = {
        "messages": [
            ASKED,
            {"role": "assistant", "content": None, "function_call": old},
            {"role": "function", "name": "rain", "content": "wet"},
            SAID,
        ],
        "functions": [{"name": "rain", "parameters": '{"type": "object"}'}],
    }
    found = record(row)
    assert (found.messages[2].role, found.messages[2].extra) == (
        "tool",
        {"name": "rain"},
    )
    tool = {"name": "rain", "parameters": {"type": "object"}}
    assert found.tools == ({"type": "function", "function": tool},)
    assert "functions" not in found.extra
    with pytest.raises(RowError, match="both `tools` and `functions`"):
        record({**row, "tools": [tool]})
    with pytest.raises(RowError, match="both `tool_calls` and `function_call`"):
        calls_of({"content": None, "function_call": old, "tool_calls": [CALL]})


def test_a_column_functions_that_describes_none_is_another_thing():
    row = {"prompt": [ASKED], "functions": "def f(): pass"}
    assert record(row, "prompt").extra == {"functions": "def f(): pass"}


@pytest.mark.parametrize("tools", [[], None, "[]", ""])
def test_no_tools(tools):
    row = {"messages": [ASKED, SAID], "tools": tools or None}
    assert record(row).tools is None


def test_tools_in_other_wrappings():
    tool = {"name": "rain", "parameters": {"type": "object"}}
    flat = {"name": "rain", "parameters": json.dumps(tool["parameters"])}
    nested = {"type": "function", "function": flat}
    for given in ([tool], json.dumps([tool]), [json.dumps(tool)], [flat]):
        row = {"messages": [ASKED, SAID], "tools": given}
        assert record(row).tools == (tool,)
    row = {"messages": [ASKED, SAID], "tools": [nested]}
    (found,) = record(row).tools
    assert found["function"] == tool
    for bad, said in ((["f"], "not JSON"), ({"name": "f"}, "not a list of objects")):
        row = {"messages": [ASKED, SAID], "tools": bad}
        with pytest.raises(RowError, match=said):
            record(row)


def test_conversations_keep_what_their_turns_say():
    messages = [
        ASKED,
        {**SAID, "tool_calls": [CALL], "reasoning_content": "look"},
        {"role": "tool", "content": "wet", "tool_call_id": "c1", "name": "rain"},
        SAID,
    ]
    plain = {"messages": messages}
    expected = record(plain)
    row = {"conversations": messages}
    assert record(row).messages == expected.messages
    said = {"user": "human", "assistant": "gpt", "tool": "observation"}
    turns = [
        {"from": said[m["role"]], "value": m["content"]}
        | {k: v for k, v in m.items() if k not in ("role", "content")}
        for m in messages
    ]
    row = {"conversations": turns}
    assert record(row).messages == expected.messages


def test_a_turn_that_is_a_call():
    call = json.dumps(CALL["function"])
    row = {
        "conversations": [
            {"from": "human", "value": "rain in Oslo?"},
            {"from": "function_call", "value": call},
            {"from": "observation", "value": "wet"},
            {"from": "gpt", "value": "Yes."},
        ]
    }
    found = record(row).messages[1]
    assert (found.role, found.content) == ("assistant", "")
    assert found.extra == {"tool_calls": [CALL]}


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"from": "gpt", "value": "a", "content": "b"}, "both `value` and `content`"),
        ({"from": "gpt", "role": "user", "value": "a"}, "both `from` and `role`"),
        ({"from": ["gpt"], "value": "a"}, r"from` is \['gpt'\]"),
        ({"from": "function_call", "value": "rain"}, "value` is text that is not JSON"),
        ({"from": "gpt", "value": "a", "mask": 1}, r"messages\[1\].mask` is not under"),
    ],
)
def test_turns_that_contradict_themselves(turn, said):
    row = {"conversations": [{"from": "human", "value": "hi"}, turn]}
    with pytest.raises(RowError, match=said):
        record(row)
