"""Popular layouts become standard rows, on real rows and on damaged ones."""

from typing import Any

import pytest

from jaxalign.data.records import converters
from jaxalign.data.records.build_records import to_record, to_records
from jaxalign.data.records.checks import Flaw
from jaxalign.data.records.formats import detect
from jaxalign.data.records.prefix import split_messages, split_text, split_transcripts
from jaxalign.data.records.record import (
    Conversation,
    Message,
    Preference,
    PromptCompletion,
    Rankings,
    Tie,
)
from jaxalign.data.sources.jsonl import parse_row
from jaxalign.errors import RowError


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


def turns(*texts):
    """Messages of user and assistant in turn."""
    roles = ("user", "assistant")
    return tuple(Message(roles[i % 2], text) for i, text in enumerate(texts))


def record(row, task, **options) -> Any:
    return to_record(row, detect(row, row, task, **options), "")


def test_sharegpt():
    row = {
        "conversations": [
            {"from": "system", "value": "Be kind."},
            {"from": "human", "value": "weather?"},
            {"from": "gpt", "value": "I look."},
            {"from": "observation", "value": "sun"},
            {"from": "gpt", "value": "Sunny."},
        ],
        "id": "x",
    }
    expected = (
        Message("system", "Be kind."),
        *turns("weather?", "I look."),
        Message("tool", "sun"),
        Message("assistant", "Sunny."),
    )
    assert record(row, "sft") == Conversation(expected, extra={"id": "x"})


def test_sharegpt_pairs():
    row = {
        "conversations": [{"from": "human", "value": "hi"}],
        "chosen": {"from": "gpt", "value": "hello"},
        "rejected": {"from": "gpt", "value": "go"},
    }
    prompt, chosen, rejected = turns("hi"), turns("", "hello")[1:], turns("", "go")[1:]
    assert record(row, "preference") == Preference(prompt, chosen, rejected)


def test_alpaca():
    row = {"instruction": "Add.", "input": "2, 3", "output": "5"}
    assert record(row, "sft") == PromptCompletion(*_qa("Add.\n\n2, 3", "5"))
    row = {**row, "input": " ", "history": [["Hi", "Hello"], ["You?", "Fine"]]}
    expected = PromptCompletion(
        turns("Hi", "Hello", "You?", "Fine", "Add."), _qa("", "5")[1]
    )
    assert record(row, "sft") == expected
    row = {"instruction": "Add.", "input": None, "output": "5", "system": "Be brief."}
    got = record(row, "sft")
    assert got.prompt == (Message("system", "Be brief."), Message("user", "Add."))
    row = {"instruction": "Add.", "input": "2, 3", "output": "5"}
    assert record(row, "sft", conversational=False) == PromptCompletion(
        "Add.\n\n2, 3\n\n", "5"
    )


def test_dolly():
    """As Alpaca, with other names; the context is never left out of the prompt."""
    row = {"instruction": "Add.", "context": "2, 3", "response": "5", "category": "x"}
    extra = {"category": "x"}
    both = PromptCompletion(*_qa("Add.\n\n2, 3", "5"), extra=extra)
    assert record(row, "sft") == both
    alone = PromptCompletion(*_qa("Add.", "5"), extra=extra)
    assert record({**row, "context": ""}, "sft") == alone
    asked = record(row, "prompt")
    assert asked.prompt == turns("Add.\n\n2, 3")
    assert asked.extra == {"response": "5", "category": "x"}


def _qa(question, answer):
    return turns(question), (Message("assistant", answer),)


HH = [
    (  # the last answers differ
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: e\n\nf",
        (("a", "b", "c"), ("d",), ("e\n\nf",)),
    ),
    (  # they part at an earlier answer
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
        "\n\nHuman: a\n\nAssistant: x",
        (("a",), ("b", "c", "d"), ("x",)),
    ),
    (  # they part at a user's turn: the answer before it is a response
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: x\n\nAssistant: d",
        (("a",), ("b", "c", "d"), ("b", "x", "d")),
    ),
    (  # two turns of one speaker are one
        "\n\nHuman: a\n\nAssistant: b\n\nAssistant: c",
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: d\n\nAssistant: e",
        (("a",), ("b\n\nc",), ("b", "d", "e")),
    ),
    (  # one answer begins like the other
        "\n\nHuman: a\n\nAssistant: yes",
        "\n\nHuman: a\n\nAssistant: yes, but",
        (("a",), ("yes",), ("yes, but",)),
    ),
]


@pytest.mark.parametrize(("chosen", "rejected", "expected"), HH)
def test_hh(chosen, rejected, expected):
    row = {"chosen": chosen, "rejected": rejected}
    prompt, better, worse = expected
    assert record(row, "preference") == Preference(
        turns(*prompt), turns("", *better)[1:], turns("", *worse)[1:]
    )
    plain = record(row, "preference", conversational=False)
    assert plain.prompt + plain.chosen == chosen
    assert plain.prompt + plain.rejected == rejected
    assert plain.prompt.endswith("\n\nAssistant:")
    assert plain.prompt.count("\n\nHuman:") == (len(prompt) + 1) // 2


def test_ultrafeedback():
    row = {
        "prompt": "hi",
        "prompt_id": "7",
        "chosen": [user("hi"), bot("hello")],
        "rejected": [user("hi"), bot("go")],
        "score_chosen": 8.5,
        "score_rejected": 6,
    }
    got = record(row, "preference")
    assert (got.prompt, got.margin) == (turns("hi"), 2.5)
    assert (got.chosen[0].content, got.rejected[0].content) == ("hello", "go")
    assert got.extra["prompt_id"] == "7"
    with pytest.raises(Tie, match="the same score"):
        record({**row, "score_rejected": 8.5}, "preference")


TREE = {
    "message_tree_id": "t",
    "prompt": {
        "role": "prompter",
        "text": "q",
        "message_id": "m",
        "replies": [
            {"role": "assistant", "text": "bad", "rank": 1, "replies": []},
            {
                "role": "assistant",
                "text": "good",
                "rank": 0,
                "replies": [
                    {
                        "role": "prompter",
                        "text": "more",
                        "replies": [
                            {"role": "assistant", "text": "x", "rank": 0},
                            {"role": "assistant", "text": "y", "rank": 2},
                            {"role": "assistant", "text": "z", "rank": 1},
                        ],
                    },
                ],
            },
            {"role": "assistant", "text": "gone", "rank": 2, "deleted": True},
        ],
    },
}


def test_oasst():
    first, second = to_records(TREE, detect(TREE, TREE, "rankings"), "")
    answers = tuple((Message("assistant", t),) for t in ("bad", "good"))
    extra = {"message_id": "m", "message_tree_id": "t"}
    assert first == Rankings(turns("q"), answers, (-1.0, -0.0), extra=extra)
    assert isinstance(second, Rankings)
    assert second.prompt == turns("q", "good", "more")
    assert second.scores == (-0.0, -2.0, -1.0)
    best = record(TREE, "sft")
    assert best.messages == turns("q", "good", "more", "x")
    with pytest.raises(RowError, match="gives 2 records"):
        to_record(TREE, detect(TREE, TREE, "rankings"), "")


def test_a_bottomless_tree_is_a_bad_row():
    text = '{"role": "prompter", "text": "a", "replies": ['
    reply = '{"role": "assistant", "text": "b", "replies": ['

    def rankings_of(line):
        row = parse_row(line.encode(), "x:1")
        return to_records(row, detect(row, row, "rankings"), "x:1")

    for turns_down in (1000, 5000):
        line = '{"prompt": ' + (text + reply) * turns_down + "]}" * 2 * turns_down + "}"
        with pytest.raises(RowError, match="x:1: .*nested too deeply"):
            rankings_of(line)


def test_question_answer():
    row = {"question": "2 + 2?", "answer": ["4", "four"], "source": "s"}
    kept = {"answer": ["4", "four"], "source": "s"}
    assert record(row, "sft") == PromptCompletion(*_qa("2 + 2?", "4"), extra=kept)
    assert record(row, "prompt").extra == kept


DAMAGED = [
    (converters.sharegpt, {"conversations": "hi"}, "is text, not a list of turns"),
    (converters.sharegpt, {"conversations": []}, "not a list of turns"),
    (converters.sharegpt, {"conversations": ["hi"]}, r"\[0\]` is text, not a turn"),
    (converters.sharegpt, {"conversations": [{"from": "cat"}]}, "from` is 'cat'"),
    (converters.sharegpt, {"conversations": [{"value": "a"}]}, "from` is None"),
    (converters.alpaca, {"output": "5"}, "no `instruction`"),
    (converters.alpaca, {"instruction": "Add."}, "no `output`"),
    (converters.alpaca, {"instruction": 5, "output": "5"}, "is a number"),
    (converters.alpaca, {"instruction": "a", "input": 5, "output": "5"}, "`input` is"),
    (converters.alpaca, {"instruction": "a", "output": "b", "history": [["c"]]},
     r"`history\[0\]` is not a pair"),
    (converters.hh, {"chosen": "hi", "rejected": "hi"}, "does not begin with"),
    (converters.hh, {"chosen": "x\n\nHuman: hi", "rejected": ""}, "rejected` is an em"),
    (converters.ultrafeedback, {"score_chosen": "a", "score_rejected": 1}, "chosen`"),
    (converters.question_answer, {"question": "a"}, "no `answer`"),
    (converters.question_answer, {"question": "a", "answer": []}, "an empty list"),
    (converters.question_answer, {"answer": "a"}, "no `question`"),
    (converters.oasst_rankings, {"prompt": "a"}, "not the root"),
    (converters.oasst_best_path, {"prompt": {"role": "prompter", "text": "a"}},
     "no reply"),
    (converters.oasst_rankings,
     {"prompt": {"role": "prompter", "text": "a", "replies": [{"role": "x"}]}},
     "role is 'x'"),
    (converters.oasst_rankings,
     {"prompt": {"role": "prompter", "text": "a", "replies": "x"}}, "not a list of m"),
]  # fmt: skip


@pytest.mark.parametrize(("convert", "row", "message"), DAMAGED)
def test_damaged_rows(convert, row, message):
    before = repr(row)
    with pytest.raises(Flaw, match=message):
        convert(row)
    assert repr(row) == before


def test_converters_leave_their_rows_alone():
    row = {"instruction": "a", "input": "b", "output": "c", "history": [["d", "e"]]}
    before = repr(row)
    converters.alpaca(row)
    assert repr(row) == before


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("the cat sat", "the car sat", "the"),
        ("Q: a\nA: yes", "Q: a\nA: no", "Q: a\nA:"),
        ("a b  c", "a b  d", "a b"),
        ("名前 は 何", "名前 は 誰", "名前 は"),
        ("a b", "a b c", "a"),
    ],
)
def test_plain_prefix_ends_at_a_word(chosen, rejected, prompt):
    got = split_text(chosen, rejected)
    assert got == (prompt, chosen[len(prompt) :], rejected[len(prompt) :])


def test_prefix_of_messages_goes_back_to_an_answer():
    a, b = turns("a", "b", "c", "d"), turns("a", "b", "x", "d")
    assert split_messages(a, b) == (a[:1], a[1:], b[1:])
    assert split_messages(a, a[:2]) == (a[:1], a[1:], a[1:2])
    with pytest.raises(Flaw, match="share no messages"):
        split_messages(a, turns("x", "b"))
    with pytest.raises(Flaw, match="share no turns"):
        split_transcripts(
            "\n\nHuman: a\n\nAssistant: b", "\n\nHuman: b\n\nAssistant: b"
        )
