"""Formats are found from columns, and ambiguity is said aloud."""

import pytest

from jaxalign.data.records.build_records import to_record
from jaxalign.data.records.formats import detect, parse_columns
from jaxalign.data.records.record import (
    Conversation,
    Message,
    Preference,
    PromptCompletion,
    PromptOnly,
    Rankings,
    Scored,
    Stepwise,
    Text,
    Tokenised,
    TokenisedPair,
    Unpaired,
)
from jaxalign.errors import UserError

USER = {"role": "user", "content": "2 + 2?"}
GOOD = {"role": "assistant", "content": "4"}
BAD = {"role": "assistant", "content": "5"}
CALL = {"id": "1", "function": {"name": "add", "arguments": {"a": 2}}}
Q, A, B = (
    Message("user", "2 + 2?"),
    Message("assistant", "4"),
    Message("assistant", "5"),
)

# row, task, how the format prints, the record without `where`
CASES = {
    "text": ({"text": "a b"}, "sft", "text, plain", Text("a b")),
    "messages": (
        {"messages": [USER, GOOD]},
        "sft",
        "messages, conversational",
        Conversation((Q, A)),
    ),
    "prompt-only": ({"prompt": "a"}, "prompt", "prompt-only, plain", PromptOnly("a")),
    "prompt-only, extra columns": (
        {"prompt": [USER], "answer": "4", "id": 7},
        "prompt",
        "prompt-only, conversational",
        PromptOnly((Q,), extra={"answer": "4", "id": 7}),
    ),
    "prompt-only, an empty column": (
        {"question": "2 + 2?", "answer": None, "tools": None},
        "prompt",
        "prompt-only (question_answer), conversational",
        PromptOnly((Q,), extra={"answer": None}),
    ),
    "prompt-completion": (
        {"prompt": "a", "completion": " b", "weight": 0.5},
        "sft",
        "prompt-completion, plain",
        PromptCompletion("a", " b", weight=0.5),
    ),
    "prompt-completion of messages": (
        {"prompt": [USER], "completion": [GOOD]},
        "sft",
        "prompt-completion, conversational",
        PromptCompletion((Q,), (A,)),
    ),
    "a label does not keep SFT away": (
        {"prompt": "a", "completion": " b", "label": True},
        "sft",
        "prompt-completion, plain",
        PromptCompletion("a", " b", extra={"label": True}),
    ),
    "preference": (
        {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 2},
        "preference",
        "preference, plain",
        Preference("a", "b", "c", 2.0),
    ),
    "preference of messages": (
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        "preference",
        "preference, conversational",
        Preference((Q,), (A,), (B,)),
    ),
    "implicit prompt": (
        {"chosen": "Sum: four", "rejected": "Sum: five"},
        "preference",
        "preference, implicit prompt, plain",
        Preference("Sum:", " four", " five"),
    ),
    "implicit prompt of messages": (
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        "preference",
        "preference, implicit prompt, conversational",
        Preference((Q,), (A,), (B,)),
    ),
    "unpaired": (
        {"prompt": "a", "completion": "b", "label": 0},
        "unpaired",
        "unpaired, plain",
        Unpaired("a", "b", False),
    ),
    "scored": (
        {"prompt": "a", "completion": "b", "score": 2},
        "scored",
        "scored, plain",
        Scored("a", "b", 2.0),
    ),
    "a score is no matter to other tasks": (
        {"prompt": "a", "completion": "b", "score": 2},
        "sft",
        "prompt-completion, plain",
        PromptCompletion("a", "b", extra={"score": 2}),
    ),
    "rankings by rank": (
        {"prompt": "a", "completions": ["b", "c"], "ranks": [1, 0]},
        "rankings",
        "rankings, plain",
        Rankings("a", ("b", "c"), (-1.0, 0.0)),
    ),
    "rankings by score": (
        {"prompt": [USER], "completions": [[GOOD], [BAD]], "scores": [1, 0.5]},
        "rankings",
        "rankings, conversational",
        Rankings((Q,), ((A,), (B,)), (1.0, 0.5)),
    ),
    "stepwise": (
        {"prompt": "a", "completions": ["b", "c"], "labels": [True, False]},
        "stepwise",
        "stepwise, plain",
        Stepwise("a", ("b", "c"), (True, False)),
    ),
    "tokenised": (
        {"input_ids": [1, 2, 3], "loss_mask": [0, 1, 1]},
        "sft",
        "tokenised, tokens",
        Tokenised((1, 2, 3), (False, True, True)),
    ),
    "tokenised pair": (
        {"chosen_input_ids": [1, 2], "rejected_input_ids": [1, 3]},
        "preference",
        "tokenised-pair (tokenised), tokens",
        TokenisedPair(Tokenised((1, 2)), Tokenised((1, 3))),
    ),
    "tools, kwargs and system": (
        {
            "messages": [USER, GOOD],
            "tools": '[{"name": "add"}]',
            "chat_template_kwargs": {"enable_thinking": False},
            "system": "Be brief.",
        },
        "sft",
        "messages, conversational",
        Conversation(
            (Message("system", "Be brief."), Q, A),
            tools=({"name": "add"},),
            template_kwargs={"enable_thinking": False},
        ),
    ),
    "a system column makes a chat of text": (
        {"prompt": "2 + 2?", "completion": "4", "system": "Be brief."},
        "sft",
        "prompt-completion, conversational",
        PromptCompletion((Message("system", "Be brief."), Q), (A,)),
    ),
    "tool calls": (
        {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "content": "", "name": "add"},
                GOOD,
            ]
        },
        "sft",
        "messages, conversational",
        Conversation(
            (
                Q,
                Message("assistant", "", {"tool_calls": [CALL]}),
                Message("tool", "", {"name": "add"}),
                A,
            )
        ),
    ),
    "text parts": (
        {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "2 + "}, {"type": "text", "text": "2?"}]}, GOOD]},
        "sft",
        "messages, conversational",
        Conversation((Q, A)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_detection_and_record(name):
    row, task, printed, record = CASES[name]
    format = detect(row.keys(), row, task)
    assert str(format) == printed
    assert to_record(row, format, "") == record


def test_one_file_serves_several_tasks():
    row = dict(instruction="Add.", input="2", output="4", chosen="4", rejected="5")
    shapes = {t: detect(row, row, t).shape for t in ("sft", "preference", "prompt")}
    assert shapes == {
        "sft": "prompt-completion",
        "preference": "preference",
        "prompt": "prompt-only",
    }
    with pytest.raises(UserError, match=r"alpaca \(for sft\) or alpaca \(for pref"):
        detect(row, row)


def test_ambiguity_lists_the_candidates_and_a_name_decides():
    row = dict(instruction="Add.", output="4", text="Add. 4")
    with pytest.raises(UserError, match=r"text \(for sft\) or alpaca \(for sft\)"):
        detect(row, row, "sft")
    assert detect(row, row, "sft", name="alpaca").name == "alpaca"
    with pytest.raises(UserError, match="alpac: known are .* Did you mean alpaca"):
        detect(row, row, "sft", name="alpac")
    with pytest.raises(UserError, match="fits no messages format for sft"):
        detect(row, row, "sft", name="messages")


def test_renamed_columns():
    row = {"question": "2 + 2?", "good": "4", "worse": "5", "prompt": "old"}
    rename = parse_columns("prompt=question, chosen=good,rejected=worse")
    format = detect(row, row, "preference", rename=rename)
    assert to_record(row, format, "") == Preference("2 + 2?", "4", "5")
    with pytest.raises(UserError, match="no column `goood`.*Did you mean `good`"):
        detect(row, row, "preference", rename={"chosen": "goood"})
    for text in ("prompt", "a=b=c", "=b"):
        with pytest.raises(UserError, match="new names first"):
            parse_columns(text)


def test_text_or_messages_can_be_chosen():
    row = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}
    format = detect(row, row, "preference", conversational=True)
    assert to_record(row, format, "") == Preference((Q,), (A,), (B,))
    row = {"question": "2 + 2?", "answer": ["4", "four"]}
    format = detect(row, row, "sft")
    kept = {"answer": ["4", "four"]}
    assert to_record(row, format, "") == PromptCompletion((Q,), (A,), extra=kept)
    format = detect(row, row, "sft", conversational=False)
    assert to_record(row, format, "") == PromptCompletion("2 + 2?\n\n", "4", extra=kept)
    row = {"messages": [USER, GOOD]}
    with pytest.raises(UserError, match="--conversational no: the rows hold messages"):
        detect(row, row, "sft", conversational=False)


def test_unknown_columns_are_listed_with_what_is_wanted():
    row = {"turns": ["a"], "category": "math"}
    with pytest.raises(UserError, match="columns are category, turns.*prompt-only"):
        detect(row, row, "prompt")
