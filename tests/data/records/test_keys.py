"""Keys and columns that say what is trained are followed or refused by name."""

import json
from typing import Any

import pytest

from jaxalign.data.records.build_records import to_record
from jaxalign.data.records.formats import detect
from jaxalign.data.records.layouts import Task
from jaxalign.data.records.read import detect_format, read_records
from jaxalign.data.records.record import Message, PromptCompletion, PromptOnly
from jaxalign.data.records.report import ReadReport
from jaxalign.data.sources.source import open_source
from jaxalign.errors import RowError


def record(row, task: Any = "sft", **options) -> Any:
    return to_record(row, detect(row, row, task, **options), "here")


def turn(**keys):
    return {"role": "assistant", "content": "no", **keys}


def talk(*answers):
    """A row in which each of the answers follows a question."""
    asked = {"role": "user", "content": "hi"}
    return {"messages": [x for answer in answers for x in (asked, answer)]}


LAST = turn(content="yes")
OFF = [
    {"weight": 0}, {"weight": 0.0}, {"weight": "0"}, {"loss_weight": 0},
    {"loss_scale": 0}, {"train": False}, {"train": 0}, {"trainable": False},
    {"training": False}, {"train_on": False}, {"loss": False}, {"trained": False},
    {"train_on_turn": False}, {"weight": 1, "train": False},
]  # fmt: skip
ON = [{}, {"weight": 1}, {"train": True}, {"loss": True}, {"weight": None}]


@pytest.mark.parametrize("keys", [*OFF, *ON], ids=str)
def test_a_turn_says_whether_it_is_trained(keys):
    found = record(talk(turn(**keys), LAST))
    assert [m.trained for m in found.messages] == [True, keys in ON, True, True]
    assert all(m.extra == {} for m in found.messages)  # no template reads a weight
    converted = {
        "conversations": [
            {"from": {"user": "human"}.get(m["role"], "gpt"), "value": m["content"]}
            | {k: v for k, v in m.items() if k not in ("role", "content")}
            for m in talk(turn(**keys), LAST)["messages"]
        ]
    }
    assert record(converted).messages == found.messages


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (turn(weight=0.5), r"`messages\[1\].weight` is 0.5, and a turn is trained"),
        (turn(weight=-1), r"weight` is -1"),
        (turn(weight="much"), r"weight` is text, not a number"),
        (turn(train="some"), r"train` is 'some', not a boolean"),
        (turn(loss=0.5), r"loss` is 0.5, not a boolean"),
        (turn(mask=True), r"messages\[1\].mask` is not understood"),
        (turn(mask=0), r"mask` is not understood"),
        (turn(loss_mask=[1, 0]), "loss_mask` is not understood"),
        (turn(train_detail=[]), "train_detail` is not understood"),
        (turn(audio={"id": "a"}), "has `audio`, and only text"),
        (turn(images=["a.png"]), "has `images`, and only text"),
        (turn(content=None, refusal="I will not."), "refusal` holds what the assist"),
    ],
)
def test_what_a_turn_says_and_nobody_knows_is_refused(message, said):
    with pytest.raises(RowError, match=said):
        record(talk(message, LAST))


def test_a_question_cannot_be_trained_but_may_be_weighed():
    for keys in ({"train": False}, {"weight": 0}, {"weight": 1}, {"loss": 0}):
        row = talk(LAST)
        row["messages"][0] = {**row["messages"][0], **keys}
        assert all(m.trained for m in record(row).messages)
    row["messages"][0] = {"role": "user", "content": "hi", "train": True}
    with pytest.raises(RowError, match=r"\[0\].train` asks to train a `user` turn"):
        record(row)


def test_a_row_of_which_nothing_is_trained_is_refused():
    with pytest.raises(RowError, match="no assistant turn to train on"):
        record(talk(turn(train=False)))
    pair = {
        "prompt": [{"role": "user", "content": "hi"}],
        "chosen": [turn(content="yes")],
        "rejected": [turn(weight=0)],
    }
    with pytest.raises(RowError, match="`rejected` has no turn that is to be trained"):
        record(pair, "preference")


def test_keys_for_templates_stay_and_nulls_go():
    row = talk(turn(reasoning_content="hm", name=None, tool_calls=[], refusal=None))
    assert record(row).messages[1].extra == {"reasoning_content": "hm"}


PAIR = {"prompt": "a", "chosen": "b", "rejected": "c"}
TEXT = {"prompt": "a", "completion": "b"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**TEXT, "loss_mask": [0, 1]}, "`loss_mask` says which tokens are trained"),
        ({**TEXT, "labels": [-100, 5]}, "`labels` says which tokens"),
        ({"text": "a b", "completion_mask": [True]}, "`completion_mask` says"),
        ({**PAIR, "assistant_masks": [1]}, "`assistant_masks` says"),
        ({"text": "a b", "response_mask": [0, 1]}, "`response_mask` says which"),
        ({"input_ids": [1, 2], "mask": [0, 1]}, "`mask` looks like a mask"),
        ({"input_ids": [1, 2], "learnt": [0, 1]}, "`learnt` looks like a mask of the"),
        ({"input_ids": [1, 2], "aims": [-100, 2]}, "`aims` looks like a mask"),
        ({**TEXT, "sample_weight": 0.5}, "`sample_weight` is other than 1"),
        ({**PAIR, "loss_weight": "2"}, "`loss_weight` is other than 1"),
        ({"text": "a", "token_weights": [1, 0]}, "`token_weights` is other than 1"),
        ({**TEXT, "train": False}, "`train` is false: the row is not to be trained"),
        ({**TEXT, "trainable": "False"}, "`trainable` is false"),
        ({**TEXT, "loss": False}, "`loss` is false"),
        ({**TEXT, "history": [["q", "a"]]}, "`history` holds earlier turns"),
        ({**TEXT, "images": ["x.png"]}, "has `images`, and only text"),
        ({**TEXT, "tools": [{"name": "f"}]}, "`tools` is for chat templates, and the"),
        ({"input_ids": [1, 2], "prompt_length": 1}, "`prompt_length` says where"),
        ({"chosen_ids": [1, 2], "rejected_ids": [1, 3], "labels": [-100, 2]},
         "`labels` says which tokens are trained, and there are no ids for it"),
        ({**talk(LAST), "chat_template_kwargs": "[1]"}, "kwargs` is a list, not an ob"),
    ],
)  # fmt: skip
def test_columns_that_say_what_is_trained_are_refused(row, said):
    task = "preference" if {"chosen", "chosen_ids"} & set(row) else "sft"
    with pytest.raises(RowError, match=said):
        record(row, task)


HARMLESS = {
    "id": 7, "source": "web", "score": 0.5, "label": 1, "lang": "en", "labels": ["a"],
    "category": None, "loss": 2.25, "train": "phase 1", "history": "ancient", "mask": 3,
    "weights": "heavy", "sample_weight": 1, "parallel_tool_calls": True, "length": 5,
    "rationale": "because", "images": [], "image": None, "audio": [None], "tools": None,
}  # fmt: skip


def test_other_columns_of_token_ids_are_told():
    row = {
        "input_ids": [1, 2],
        "labels": [-100, 2],
        "id": 1,
        "ranks": [7, 8],
        "n": [1.5],
    }
    found = record(row)
    assert found.loss_mask == (False, True)
    assert found.extra == {"id": 1, "ranks": [7, 8], "n": [1.5]}


@pytest.mark.parametrize("row", [TEXT, PAIR, {"text": "a b"}, talk(LAST)], ids=str)
def test_harmless_columns_refuse_nothing_and_are_told(row):
    task = "preference" if "chosen" in row else "sft"
    found = record({**row, **HARMLESS}, task)
    report = ReadReport()
    report.add(found)
    unread = {k for k, v in HARMLESS.items() if v is not None}
    assert report.notes() == [
        f"columns that nothing reads: {', '.join(sorted(unread))}"
    ]


def test_a_prompt_keeps_for_rewards_what_training_would_refuse():
    extra = {**HARMLESS, "loss_mask": [0, 1], "history": [["q", "a"]], "weight": 0.5}
    found = record({"prompt": "2 + 2 =", **extra}, "prompt")
    del extra["tools"], extra["image"]
    assert isinstance(found, PromptOnly)
    kept = {k: v for k, v in found.extra.items() if k not in ("tools", "image")}
    assert kept == extra
    report = ReadReport()
    report.add(found)
    (note,) = report.notes()
    assert note.startswith("columns kept for rewards: audio, category, history, id,")


def test_a_system_prompt_by_its_other_name():
    row = {"question": "2 + 2?", "answer": "4", "system_prompt": "Be brief."}
    assert record(row).prompt[0] == Message("system", "Be brief.")
    same = [{"role": "system", "content": "Be brief."}, *talk(LAST)["messages"]]
    found = record({"messages": same, "system_prompt": "Be brief."})
    assert [m.role for m in found.messages] == ["system", "user", "assistant"]
    with pytest.raises(RowError, match="`system` and `system_prompt` differ"):
        record({**row, "system": "Be long."})


def test_a_system_text_that_comes_late_is_not_passed_over():
    format = detect(TEXT, TEXT, "sft")
    found = to_record({**TEXT, "system": ""}, format, "")
    assert isinstance(found, PromptCompletion)
    assert found.prompt == "a"
    with pytest.raises(RowError, match="`system` is for chat templates"):
        to_record({**TEXT, "system": "Be brief."}, format, "")


def test_what_was_read_and_not_trained_is_told(tmp_path):
    rows = [
        {**talk(turn(weight=0, id="x"), LAST), "source": "web"},
        {**talk(LAST), "win_rate_chosen": 0.5},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    source, report = open_source(str(file)), ReadReport()
    format = detect_format(source, "sft")
    assert len(list(read_records(source, format, report=report))) == 2
    assert report.notes() == [
        "columns that nothing reads: source",
        "keys of messages that only templates see: id",
        "1 turns of the assistant are read and not trained",
    ]


def test_columns_are_counted_over_rows_and_an_answer_that_was_read_is_none(tmp_path):
    rows = [
        {"question": "2 + 2?", "answer": ["4"], "level": True},
        {"question": "3 + 3?", "answer": "6", "level": "hard", "id": "x"},
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    source = open_source(str(file))
    notes: dict[Task, str] = {
        "sft": "columns that nothing reads: id, level",
        "prompt": "columns kept for rewards: answer, id, level",
    }
    for task, note in notes.items():
        report = ReadReport()
        format = detect_format(source, task)
        assert len(list(read_records(source, format, report=report))) == 2
        assert report.notes() == [note]


@pytest.mark.parametrize(
    ("more", "unread"),
    [
        ({"score_chosen": 8, "score_rejected": 6}, "score_chosen, score_rejected"),
        ({"margin": 2.0}, "margin"),
        ({"margin": 3.0, "score_chosen": 8, "score_rejected": 6}, None),
    ],
)
def test_how_much_better_a_side_is_is_told_where_no_loss_reads_it(more, unread):
    """UltraFeedback's scores become the margin, and most losses have no use for it."""
    sides = {
        side: [{"role": "user", "content": "hi"}, {"role": "assistant", "content": x}]
        for side, x in (("chosen", "hello"), ("rejected", "go"))
    }
    row = {"prompt": "hi", **sides, **more}
    format = detect(row.keys(), row, "preference")
    assert format.name == "ultrafeedback"
    report = ReadReport()
    report.add(to_record(row, format), format.name)
    names = unread or "margin, score_chosen, score_rejected"
    assert report.notes(reads_margin=False) == [f"columns that nothing reads: {names}"]
    scores = ["columns that nothing reads: score_chosen, score_rejected"]
    assert report.notes(reads_margin=True) == ([] if unread else scores)
    only = f"columns that only losses with a margin read: {unread or 'margin'}"
    assert report.notes() == [*([] if unread else scores), only]
