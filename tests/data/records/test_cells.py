"""What flat files make of lists: read as what they were, or refused in a sentence."""

import json
from typing import Any

import pytest

from jaxalign.data.records.build_records import to_record
from jaxalign.data.records.formats import detect
from jaxalign.data.records.record import Message, Preference, Rankings, Unpaired
from jaxalign.errors import RowError

TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
SHAREGPT = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]
Q, A, B = Message("user", "hi"), Message("assistant", "yo"), Message("assistant", "no")


def record(row, task: Any, **options) -> Any:
    return to_record(row, detect(row, row, task, **options), "here")


def struct(messages):
    return {key: [m[key] for m in messages] for key in messages[0]}


def texts(messages):
    return [json.dumps(m) for m in messages]


@pytest.mark.parametrize("wrap", [json.dumps, struct, texts])
@pytest.mark.parametrize(
    "row", [{"messages": TALK}, {"conversations": SHAREGPT}], ids=["openai", "sharegpt"]
)
def test_conversations(row, wrap):
    ((name, messages),) = row.items()
    assert record({name: wrap(messages)}, "sft").messages == (Q, A)


@pytest.mark.parametrize("wrap", [json.dumps, struct, texts])
def test_pairs_are_conversational_then(wrap):
    worse = [TALK[0], {"role": "assistant", "content": "no"}]
    row = {"chosen": wrap(TALK), "rejected": wrap(worse)}
    assert record(row, "preference") == Preference((Q,), (A,), (B,), where="here")
    row = {"prompt": wrap(TALK[:1]), "chosen": wrap(TALK[1:]), "rejected": "no"}
    assert record(row, "preference") == Preference((Q,), (A,), (B,), where="here")


def test_lists_and_numbers_in_cells():
    row = {"prompt": "hi", "completions": '["yo", "no"]', "scores": "[2, 1.5]"}
    assert record(row, "rankings") == Rankings(
        "hi", ("yo", "no"), (2.0, 1.5), where="here"
    )
    row = {"input_ids": "[5, 6]", "labels": "[-100, 6]"}
    assert record(row, "sft").loss_mask == (False, True)
    for text, label in (("1", True), ("0", False), ("True", True), ("false", False)):
        row = {"prompt": "hi", "completion": "yo", "label": text}
        assert record(row, "unpaired") == Unpaired("hi", "yo", label, where="here")
    row = {"prompt": "hi", "completion": "yo", "score": "-0.5"}
    assert record(row, "scored").score == -0.5
    for text in ("007", "1,5", "0x1", "", "nan", "+1"):
        row = {"prompt": "hi", "completion": "yo", "score": text}
        with pytest.raises(RowError, match="`score`"):
            record(row, "scored")


@pytest.mark.parametrize(
    "text",
    ["42", "007", '{"a": 1}', '["a", "b"]', "[1, 2]", '[{"a": 1}]', "[broken", "null"],
)
def test_text_that_looks_like_json_stays_text(text):
    row = {"prompt": text, "completion": text, "id": text}
    found = record(row, "sft")
    assert (found.prompt, found.completion, found.extra) == (text, text, {"id": text})


def test_columns_for_rewards_stay_what_they_are():
    row = {"prompt": json.dumps(TALK[:1]), "scores": "[1]", "messages": "[2]"}
    found = record(row, "prompt")
    assert found.prompt == (Q,)
    assert found.extra == {"scores": "[1]", "messages": "[2]"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": str(TALK)}, "`messages` holds messages as Python prints them"),
        ({"prompt": "hi", "completion": str(TALK)}, "`completion` holds messages"),
        ({"messages": "hi"}, "`messages` is text, not a list of messages"),
        ({"messages": '{"role": "user"}'}, "is text, not a list of messages"),
        ({"messages": "[broken"}, "is text, not a list of messages"),
        ({"messages": {"role": ["user"], "content": []}}, "is an object, not a list"),
        ({"messages": [{"role": "user", "content": ["hi"]}, TALK[1]]},
         "has a part of type 'text'"),
    ],
)  # fmt: skip
def test_what_is_none_of_these_is_refused(row, said):
    with pytest.raises(RowError, match=said):
        record(row, "sft")


def test_messages_among_plain_rows_are_named():
    format = detect({"prompt": 0, "completion": 0}, {"prompt": "a"}, "sft")
    row = {"prompt": "a", "completion": json.dumps(TALK[1:])}
    with pytest.raises(RowError, match="`completion` is a list, not text"):
        to_record(row, format, "here")
