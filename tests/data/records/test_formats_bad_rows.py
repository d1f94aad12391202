"""Malformed rows: each is named by file, line and reason, with what to do."""

import json

import pytest

from jaxalign.data.records.formats import Task
from jaxalign.data.records.read import detect_format, read_records
from jaxalign.data.records.report import ReadReport
from jaxalign.data.sources.source import open_source
from jaxalign.errors import UserError

PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}
USER = {"role": "user", "content": "hi"}
BOT = {"role": "assistant", "content": "hello"}
OTHER = {"role": "assistant", "content": "no"}
SYSTEM = {"role": "system", "content": "Be kind."}
CHAT = {"messages": [USER, BOT]}


def chat(*messages):
    return {"messages": list(messages)}


def pair(**changes):
    return {**PAIR, **changes}


# a good row that sets the format, the bad line, and what must be said of it
BAD = {
    "bad JSON": (PAIR, b'{"prompt": "a", }', r"not valid JSON \(.*column 17"),
    "two objects": (PAIR, b'{"prompt": 1} {}', r"not valid JSON \(Extra data"),
    "NaN": (PAIR, b'{"prompt": NaN}', "NaN is not JSON"),
    "a list": (PAIR, b'["a"]', "a JSON list, not an object"),
    "deep nesting": (PAIR, b"[" * 99999, "nested too deeply|not valid JSON"),
    "not UTF-8": (PAIR, b'{"prompt": "\xe9"}', r"byte 13 \(0xe9\) is not UTF-8"),
    "missing key": (PAIR, {"prompt": "a", "chosen": "b"}, "no `rejected`; the row has"),
    "null": (PAIR, pair(chosen=None), "no `chosen`"),
    "wrong type": (PAIR, pair(chosen=4), r"`chosen` is a number \(4\), not text"),
    "list for text": (PAIR, pair(prompt=["a"]), "`prompt` is a list, not text"),
    "empty string": (PAIR, pair(rejected=""), "`rejected` is an empty string"),
    "white space": (PAIR, pair(rejected=" \n"), "`rejected` is only white space"),
    "NUL": (PAIR, pair(chosen="a\0b"), "`chosen` holds a NUL character at position 1"),
    "lone surrogate": (PAIR, rb'{"prompt": "a\ud83d", "chosen": "b", "rejected": "c"}',
                       r"`prompt` holds half of a surrogate pair \(U\+D83D\)"),
    "images": (PAIR, pair(images=["a.png"]), "has `images`, and only text"),
    "weight": (PAIR, pair(weight=-1), "`weight` is -1.0, below 0"),
    "weight as text": (PAIR, pair(weight="much"), "`weight` is text, not a number"),
    "margin": (PAIR, pair(margin=True), "`margin` is a boolean, not a number"),
    "tools": (CHAT, {**CHAT, "tools": "[1"}, "`tools` is text that is not JSON"),
    "tools of plain text": (PAIR, pair(tools="[1]"), "`tools` is for chat templates"),
    "only system": (CHAT, chat(SYSTEM), "`messages` holds only a system message"),
    "no answer": (CHAT, chat(USER), "`messages` has no assistant turn"),
    "no messages": (CHAT, chat(), "`messages` is an empty list"),
    "text for messages": (CHAT, {"messages": "hi"}, "is text, not a list of messages"),
    "text for a message": (CHAT, chat("hi"), r"`messages\[0\]` is text, not a message"),
    "two users": (CHAT, chat(USER, USER, BOT), r"order: `messages\[1\]` is `user`"),
    "assistant first": (CHAT, chat(BOT, USER), "is `assistant` at the beginning"),
    "late system": (CHAT, chat(USER, SYSTEM, BOT), "`system` after `user`, where `a"),
    "unknown role": (CHAT, chat({**USER, "role": "bot"}), "role` is 'bot'. Roles are"),
    "no role": (CHAT, chat({"content": "a"}), r"`messages\[0\]` has no `role`"),
    "no content": (CHAT, chat(USER, {"role": "assistant"}), "content` is null, not"),
    "empty turn": (CHAT, chat(USER, {**BOT, "content": ""}), "content` is an empty"),
    "ShareGPT": (CHAT, chat({"from": "human", "value": "a"}), "--format sharegpt"),
    "picture part": (CHAT, chat({**USER, "content": [{"type": "image_url"}]}, BOT),
                     "part of type 'image_url'"),
    "system twice": (CHAT, {**chat(SYSTEM, USER, BOT), "system": "a"}, "Keep one of"),
    "prompt of an assistant": ({"prompt": [USER], "completion": [BOT]},
                               {"prompt": [USER, BOT], "completion": [BOT]},
                               "`prompt` ends with an assistant turn"),
    "completion of a user": ({"prompt": [USER], "completion": [BOT]},
                             {"prompt": [USER], "completion": [USER]},
                             r"`completion\[0\]` is `user` at the beginning"),
    "no shared prefix": ({"chosen": "a b", "rejected": "a c"},
                         {"chosen": "x b", "rejected": "y c"}, "share no words"),
    "one side is the prompt": ({"chosen": "a b", "rejected": "a c"},
                               {"chosen": "ab", "rejected": "ab c"}, "share no words"),
    "no shared messages": ({"chosen": [USER, BOT], "rejected": [USER, OTHER]},
                           {"chosen": [BOT], "rejected": [BOT, USER]},
                           "share no messages"),
    "lengths of lists": ({"prompt": "a", "completions": ["b", "c"], "ranks": [0, 1]},
                         {"prompt": "a", "completions": ["b", "c"], "ranks": [0]},
                         "`completions` has 2 entries and `ranks` 1"),
    "label": ({"prompt": "a", "completion": "b", "label": True},
              {"prompt": "a", "completion": "b", "label": "yes"},
              "`label` is 'yes', not a boolean"),
    "negative id": ({"input_ids": [1]}, {"input_ids": [1, -1]}, r"ids\[1\]` is -1"),
    "text for an id": ({"input_ids": [1]}, {"input_ids": ["a"]}, "is 'a', not a token"),
    "mask too short": ({"input_ids": [1]}, {"input_ids": [1, 2], "loss_mask": [1]},
                       "`input_ids` has 2 entries and `loss_mask` 1"),
}  # fmt: skip

TASKS: dict[str, Task] = {"prompt completion label": "unpaired"}


def task_of(row) -> Task:
    if "chosen" in row:
        return "preference"
    if "completions" in row:
        return "rankings"
    return TASKS.get(" ".join(row), "sft")


def write(path, rows):
    lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return open_source(str(path))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_named(name, tmp_path):
    good, bad, message = BAD[name]
    source = write(tmp_path / "rows.jsonl", [good, good, bad, good])
    format, report = detect_format(source, task_of(good)), ReadReport()
    yielded = []
    with pytest.raises(UserError, match=message) as caught:
        yielded.extend(r.where[-1] for r in read_records(source, format, report=report))
    assert yielded == ["1", "2"]
    assert str(caught.value).startswith(f"{tmp_path}/rows.jsonl:3: ")
    assert "--on-bad-row drop (1 of 4 rows would go)" in str(caught.value)
    (error,) = report.bad
    assert error.where.endswith("rows.jsonl:3")
    assert error.fix.endswith((".", ".]", "]."))

    dropped = read_records(source, format, on_bad_row="drop", max_dropped=0.25)
    assert [r.where[-1] for r in dropped] == ["1", "2", "4"]
    with pytest.raises(UserError, match=r"1 of 4 rows \(25.0%\).*--max-dropped"):
        list(read_records(source, format, on_bad_row="drop"))


def test_every_bad_row_is_in_the_account(tmp_path):
    rows = [PAIR, pair(chosen=""), PAIR, {"prompt": "a"}, pair(chosen="5"), b"{"]
    source = write(tmp_path / "rows.jsonl", rows)
    report = ReadReport()
    format = detect_format(source, "preference")
    records = list(
        read_records(source, format, on_bad_row="drop", max_dropped=1, report=report)
    )
    assert len(records) == 2
    assert [e.where.split(":")[-1] for e in report.bad] == ["2", "4", "6"]
    assert str(report) == "6 rows: 2 records, 1 ties left out, 3 bad rows"
    assert "the file may be cut off" in report.bad[-1].fix
    with pytest.raises(UserError, match=r":2: .* 2 more rows are bad"):
        list(read_records(source, format))


def test_ties_are_dropped_and_counted_but_not_bad(tmp_path):
    source = write(tmp_path / "rows.jsonl", [PAIR, pair(rejected="4")])
    report = ReadReport()
    format = detect_format(source, "preference")
    assert len(list(read_records(source, format, report=report))) == 1
    assert (report.ties, report.bad) == (1, [])
    rows = [
        {"prompt": "a", "completions": ["b", "c"], "scores": [1, 2]},
        {"prompt": "a", "completions": ["b", "c"], "scores": [2, 2]},
    ]
    source, report = write(tmp_path / "ranks.jsonl", rows), ReadReport()
    format = detect_format(source, "rankings")
    assert len(list(read_records(source, format, report=report))) == 1
    assert report.ties == 1


def test_nothing_left_is_an_error_with_the_numbers(tmp_path):
    source = write(tmp_path / "rows.jsonl", [pair(rejected="4")] * 3)
    format = detect_format(source, "preference")
    with pytest.raises(
        UserError, match=r"none of 3 rows gives a record \(3 ties, 0 bad"
    ):
        list(read_records(source, format))


def test_ten_megabytes_in_a_row_are_read(tmp_path):
    source = write(tmp_path / "rows.jsonl", [PAIR, pair(prompt="ab " * 3_500_000)])
    records = list(read_records(source, detect_format(source, "preference")))
    assert len(records[1].prompt) == 10_500_000  # pyright: ignore


def test_the_limit_stops_the_reading(tmp_path):
    source = write(tmp_path / "rows.jsonl", [PAIR] * 5 + [b"{"])
    report, format = ReadReport(), detect_format(source, "preference")
    assert len(list(read_records(source, format, limit=3, report=report))) == 3
    assert report.rows == 3


def test_parts_of_several_formats_are_refused(tmp_path):
    write(tmp_path / "a.jsonl", [PAIR])
    write(tmp_path / "b.jsonl", [{"chosen": [USER, BOT], "rejected": [USER, OTHER]}])
    source = open_source(f"{tmp_path}/a.jsonl:0.5,{tmp_path}/b.jsonl:0.5")
    with pytest.raises(UserError, match=r"a.jsonl:1 .* plain; .*b.jsonl:1 .* implicit"):
        detect_format(source, "preference")
    source = open_source(f"{tmp_path}/a.jsonl,{tmp_path}/a.jsonl")
    assert str(detect_format(source, "preference")) == "preference, plain"


def test_a_first_line_that_is_broken_is_named(tmp_path):
    source = write(tmp_path / "rows.jsonl", [b"{"])
    with pytest.raises(UserError, match=r"rows.jsonl:1: not valid JSON"):
        detect_format(source, "sft")
