"""Rows of files as people have them, read to the end: each is right or refused."""

import json
from typing import Any

import pytest

from jaxalign.data.records.read import open_rows, read_records
from jaxalign.data.records.report import ReadReport
from jaxalign.errors import UserError


def read(
    tmp_path, rows, task: Any = None, file="rows.jsonl", form=None, **options
) -> tuple[list[Any], ReadReport]:
    path = tmp_path / file
    lines = (
        rows if isinstance(rows, str) else "".join(json.dumps(x) + "\n" for x in rows)
    )
    path.write_text(lines)
    source, form = open_rows(str(path), task, name=form, **options)
    report = ReadReport()
    return list(read_records(source, form, report=report)), report


@pytest.mark.parametrize(
    "row",
    [
        {"prompt_ids": [1, 5], "chosen_ids": [7, 8], "rejected_ids": [9]},
        {"chosen_input_ids": [1, 5, 7, 8], "rejected_input_ids": [1, 5, 9]},
    ],
)
def test_pairs_of_token_ids(row, tmp_path):
    (pair,), report = read(tmp_path, [row], "preference")
    assert pair.chosen.input_ids == (1, 5, 7, 8)
    assert pair.rejected.input_ids == (1, 5, 9)
    assert (report.records, report.untrained) == (1, 0)


def turn(role, content):
    return {"role": role, "content": content}


SIDES = {
    "chosen": [turn("user", "Sky?"), turn("assistant", "Blue.")],
    "rejected": [turn("user", "Sky?"), turn("assistant", "Red.")],
}


@pytest.mark.parametrize(
    "prompt",
    ["Sky?", " Sky?\n", [turn("user", "Sky?")], "", None],
)
def test_a_prompt_that_both_sides_begin_with_is_there_once(prompt, tmp_path):
    (pair,), _ = read(tmp_path, [{**SIDES, "prompt": prompt}], "preference")
    assert [x.content for x in pair.prompt] == ["Sky?"]


@pytest.mark.parametrize("prompt", ["Be brief.", [turn("system", "You are a pirate.")]])
def test_a_prompt_that_neither_side_has_is_not_thrown_away(prompt, tmp_path):
    with pytest.raises(UserError, match="says what `chosen` does not begin with"):
        read(tmp_path, [{**SIDES, "prompt": prompt}], "preference")
    (pair,), _ = read(
        tmp_path,
        [{**SIDES, "prompt": prompt}],
        "preference",
        columns="asked=prompt",
    )
    assert [x.content for x in pair.prompt] == ["Sky?"]


def test_a_later_row_with_a_prompt_is_not_read_without_it(tmp_path):
    first = {"chosen": "The sky is blue", "rejected": "The sky is red"}
    rows = [first] * 20 + [{**first, "prompt": "What colour is the sky?"}]
    with pytest.raises(
        UserError, match="has a `prompt`, which the first rows have not"
    ):
        read(tmp_path, rows, "preference", conversational=False)


@pytest.mark.parametrize("before", ["", "\n", " ", "\n\n \n"])
def test_transcripts_behind_white_space(before, tmp_path):
    asked = before + "\n\nHuman: hi\n\nAssistant:"
    row = {"chosen": asked + " yo", "rejected": asked + " no"}
    options = {"form": "hh", "conversational": False}
    (pair,), _ = read(tmp_path, [row], "preference", **options)
    parts = pair.prompt, pair.chosen, pair.rejected
    assert parts == ("\n\nHuman: hi\n\nAssistant:", " yo", " no")


def test_turns_without_text_add_no_empty_lines(tmp_path):
    asked = "\n\nHuman: \n\nHuman: hi\n\nAssistant: \n\nAssistant:"
    row = {"chosen": asked + " yo", "rejected": asked + " no"}
    (pair,), _ = read(tmp_path, [row], "preference", conversational=True)
    assert [x.content for x in pair.prompt] == ["hi"]
    assert [x.content for x in pair.chosen] == ["yo"]


@pytest.mark.parametrize("name", ["b.jsonl", "b.csv"])
def test_an_empty_file_among_others_gives_no_rows(name, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / name).write_text("text\n" if name.endswith("csv") else "")
    source, form = open_rows(str(tmp_path), None)
    texts: list[Any] = list(read_records(source, form))
    assert [x.text for x in texts] == ["one"]


def test_text_of_brackets_is_text(tmp_path):
    prompt = "[" * 100_000
    (record,), _ = read(tmp_path, [{"prompt": prompt, "completion": "x"}], "sft")
    assert record.prompt == prompt


def test_messages_in_a_cell_name_each_key_once(tmp_path):
    cell = '[{""role"": ""user"", ""content"": ""a"", ""content"": ""b""}]'
    with pytest.raises(UserError, match="stands twice"):
        read(tmp_path, f'prompt,completion\n"{cell}",x\n', "sft", "rows.csv")


def test_rates_in_a_csv_file_are_numbers(tmp_path):
    text = "prompt,chosen,rejected,win_rate_chosen,win_rate_rejected\na,b,c,0.9,0.2\n"
    (pair,), _ = read(tmp_path, text, "preference", "rows.csv")
    assert pair.per_answer["win_rate"] == (0.9, 0.2)


@pytest.mark.parametrize("name", ["attention_mask", "token_type_ids"])
def test_lists_within_masks_are_refused(name, tmp_path):
    row = {"input_ids": [1, 2], name: [[1, 1], [1, 1]]}
    with pytest.raises(UserError, match=name):
        read(tmp_path, [row], "sft")
