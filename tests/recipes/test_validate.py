"""`jaxalign validate`: each reason once, prompts too, and readable in a file."""

import io
import json
import os
import sys

import pytest

from jaxalign.__main__ import main
from jaxalign.recipes.inputs.display import open_console


def validate(model, file, capsys, *flags):
    """Exit code and what was printed, as a pipe gets it."""
    with pytest.raises(SystemExit) as end:
        main(["validate", "--model", str(model), "--data", str(file), *flags])
    out = capsys.readouterr()
    return end.value.code, out.out + out.err


def write(file, rows):
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def talk(*answers):
    asked = {"role": "user", "content": "hi"}
    said = [{"role": "assistant", "content": x} for x in answers]
    return {"messages": [x for answer in said for x in (asked, answer)]}


def test_where_no_row_is_left_that_is_no_success(tiny_model, tmp_path, capsys):
    rows = [{"prompt": "x" * 300, "completion": " y"}] * 2
    file = write(tmp_path / "long.jsonl", rows)
    code, out = validate(tiny_model, file, capsys, "--max-length", "100")
    assert code == 2
    assert "no row is left" in out
    asked = write(tmp_path / "asked.jsonl", [{"prompt": "x" * 3000}])
    flags = "--task", "prompts", "--max-length", "100000"
    code, out = validate(tiny_model, asked, capsys, *flags)  # the model's own limit
    assert code == 2


def test_held_out_rows_are_read_too(tiny_model, tmp_path, capsys):
    good = write(tmp_path / "good.jsonl", [{"prompt": "a", "completion": " b"}])
    bad = write(tmp_path / "bad.jsonl", [{"prompt": "a", "completion": " b"}, {"x": 1}])
    code, out = validate(tiny_model, good, capsys, "--eval-data", str(bad))
    assert code == 2
    assert "good.jsonl: " in out
    assert "bad.jsonl:2" in out
    assert validate(tiny_model, good, capsys, "--eval-data", str(good))[0] == 0


def test_prompts(tiny_model, tmp_path, capsys):
    rows = [{"prompt": "2 + 2 =", "answer": "4"}, {"prompt": "x" * 300, "id": 1}]
    file = write(tmp_path / "prompts.jsonl", rows)
    code, out = validate(
        tiny_model, file, capsys, "--task", "prompts", "--max-length", "100"
    )
    assert code == 0
    assert "prompt-only, plain: 2 rows: 2 records" in out
    assert "columns kept for rewards: answer, id" in out
    assert "first prompt:" in out
    assert "2 + 2 =" in out
    assert "1 rows that are too long:" in out
    assert "prompts.jsonl:2: its prompt has 300 tokens, 100 are allowed" in out
    assert "every other row can be used" in out
    rows[1]["prompt"] = ""
    code, out = validate(tiny_model, write(file, rows), capsys, "--task", "prompts")
    assert code == 2
    assert "prompts.jsonl:2: `prompt` is an empty string" in out


def test_a_fault_of_the_run_is_said_once(tiny_model, tmp_path, capsys):
    broken = tmp_path / "broken.jinja"
    broken.write_text("{{ raise_exception('never') }}")
    file = write(tmp_path / "rows.jsonl", [talk("yo")] * 40)
    flags = ("--chat-template", str(broken))
    code, out = validate(tiny_model, file, capsys, *flags)
    assert code == 2
    assert out.count("never") == 1
    assert "40 bad rows:" in out
    assert "rows.jsonl:1, " in out
    assert " and 37 more rows: The chat template" in out


def test_reasons_that_differ_are_listed_and_the_rest_counted(
    tiny_model, tmp_path, capsys
):
    rows = [talk("yo"), *(talk("x", n) for n in (1, 2, 3)), talk("")]
    file = write(tmp_path / "rows.jsonl", rows)
    code, out = validate(tiny_model, file, capsys, "--show", "2")
    assert code == 2
    assert "rows.jsonl:2: `messages[3].content` is a number (1)" in out
    assert "rows.jsonl:3: " in out
    assert "rows.jsonl:4: " not in out
    assert "and 2 more reasons (--show)" in out


def test_the_reason_stands_behind_none_of_the_rows(tiny_model, tmp_path, capsys):
    file = write(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": 5}] * 3)
    code, out = validate(tiny_model, file, capsys)
    assert code == 2
    assert "`completion` is a number (5), not text" in out
    pairs = [{"prompt": "a", "chosen": "b", "rejected": "b"}] * 3
    code, out = validate(tiny_model, write(file, pairs), capsys)
    assert code == 2
    assert "none of 3 rows gives a record (3 ties, 0 bad)" in out


def test_what_a_pipe_gets(tiny_model, tmp_path, capsys, monkeypatch):
    """No colours, no broken lines, no control characters; trained text in brackets."""
    monkeypatch.setenv("COLUMNS", "40")
    row = {
        "prompt": "red \x1b[31m" + "word " * 30 + "=",
        "completion": " yes\x07\r",
        "note\x1b[2J": 1,
        "label": 0,
    }
    file = write(tmp_path / "rows[bold].jsonl", [row])
    code, out = validate(tiny_model, file, capsys, "--task", "sft")
    assert code == 0
    assert out.startswith(f"{file}: prompt-completion, plain: 1 rows")
    assert "\x1b" not in out
    assert "\r" not in out
    assert "\x07" not in out
    assert r"red \x1b[31m" + "word " * 30 + r"=[[ yes\x07\r<|im_end|>]]" in out
    assert r"columns that nothing reads: label, note\x1b[2J" in out


def test_a_reader_that_has_enough_ends_no_command(monkeypatch):
    """Rich's own console ends the program with code 1, a run in its midst too."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as output:
        monkeypatch.setattr("sys.stdout", output)
        console = open_console()
        for _ in range(2):
            console.print("a line")
        output.flush()


def test_errors_of_rows_hold_no_control_characters(tiny_model, tmp_path, capsys):
    file = write(tmp_path / "rows.jsonl", [{"a\x1b[2Jb": 1}])
    code, out = validate(tiny_model, file, capsys)
    assert code == 2
    assert r"The columns are a\x1b[2Jb." in out
    assert "\x1b" not in out


def test_what_the_output_cannot_show_is_written_out(tiny_model, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    row = {"prompt": "caf\u00e9", "completion": " \u540d"}
    file = write(tmp_path / "rows.jsonl", [row])
    with pytest.raises(SystemExit) as end:
        main(["validate", "--model", str(tiny_model), "--data", str(file)])
    sys.stdout.flush()
    assert end.value.code == 0
    assert rb"caf\xe9[[ \u540d" in buffer.getvalue()


@pytest.mark.parametrize(
    ("flag", "value", "least"), [("show", "-1", 0), ("row-length", "0", 1)]
)
def test_numbers_that_mean_nothing(tiny_model, flag, value, least, tmp_path, capsys):
    file = write(tmp_path / "rows.jsonl", [talk("yo")])
    code, out = validate(tiny_model, file, capsys, f"--{flag}", value)
    assert code == 2
    assert f"{flag.replace('-', '_')} must be {least} or more, got {value}" in out
