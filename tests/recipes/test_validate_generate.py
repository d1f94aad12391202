"""`jaxalign validate` and `jaxalign generate` from outside, on a tiny model."""

import json

import pytest

from jaxalign.__main__ import main
from jaxalign.training.log import counted


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # no path is broken over lines


def ended(argv, code):
    with pytest.raises(SystemExit) as end:
        main([str(x) for x in argv])
    assert end.value.code == code


def write(file, rows):
    file.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in rows))
    return file


def _never(policy):
    raise AssertionError("weights were loaded before settings were checked")


def squeezed(text):
    return " ".join(text.split())


def test_validate_lists_every_bad_row_by_line(tiny_model, tmp_path, capsys):
    good = {"prompt": "2 + 2?", "chosen": " 4", "rejected": " 5"}
    file = write(
        tmp_path / "pairs.jsonl",
        [
            good,
            good | {"rejected": ""},
            "{not json",
            good | {"chosen": " 5"},  # a tie, which is not a bad row
            good | {"prompt": "x" * 300},
        ],
    )
    ended(["validate", "--model", tiny_model, "--data", file, "--max-length", "100"], 2)
    out = squeezed(capsys.readouterr().out)
    assert "5 rows: 2 records, 1 ties left out, 2 bad rows" in out
    assert "2 bad rows:" in out
    assert "pairs.jsonl:2: `rejected`" in out
    assert "pairs.jsonl:3:" in out
    assert "pairs.jsonl:4" not in out
    assert "1 rows that are too long: " in out
    assert "pairs.jsonl:5: its prompt has" in out
    assert "longer than 100: 1" in out
    assert "every row can be used" not in out


def test_validate_of_good_rows_ends_well(tiny_model, pairs, capsys):
    ended(["validate", "--model", tiny_model, "--data", pairs, "--show", "1"], 0)
    out = squeezed(capsys.readouterr().out)
    assert "40 rows: 40 records, 0 ties left out, 0 bad rows" in out
    assert "100.0% of the responses end in a stop token" in out
    assert "every row can be used" in out


def test_generate_answers_each_row_the_same_alone_and_together(
    tiny_model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(counted, "LINE_EVERY", 0)
    prompts = [{"prompt": "ada"}, {"prompt": "a longer one"}]
    answers = []
    for limit in (2, 1):
        file = tmp_path / f"answers_{limit}.jsonl"
        ended(
            [
                *("generate", "--model", tiny_model, "--limit", limit, "--plain"),
                *("--data", write(tmp_path / "prompts.jsonl", prompts)),
                *("--output", file, "--max-new-tokens", "5", "--temperature", "1"),
                *("--num-samples", "2", "--seed", "3"),
            ],
            0,
        )
        answers.append([json.loads(x) for x in file.read_text().splitlines()])
    both, first = answers
    assert [x["prompt"] for x in both] == ["ada"] * 2 + ["a longer one"] * 2
    assert both[:2] == first
    assert both[0]["completion"] != both[1]["completion"]
    printed, told = capsys.readouterr()
    assert "completions: 4/4  " in told
    assert all(x["prompt"] in printed for x in both)
    shown = [x["completion"] for x in both if x["completion"].isprintable()]
    assert all(text in printed for text in shown)


def test_generate_takes_its_settings_from_the_checkpoint_and_flags_first(tmp_path):
    from jaxalign.recipes.generate import Config, sampling_settings

    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps({"do_sample": True, "temperature": 0.6, "top_k": 20}))
    own = sampling_settings(Config(model="m", prompt="p"), tmp_path)
    assert own[:3] == (0.6, 20, 1.0)
    flags = Config(model="m", prompt="p", temperature=0.0, top_p=0.5)
    assert sampling_settings(flags, tmp_path)[:3] == (0.0, 20, 0.5)
    file.write_text(json.dumps({"temperature": 0.6}))  # and do_sample is off
    config = Config(model="m", prompt="p")
    assert sampling_settings(config, tmp_path)[:3] == (0, None, 1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "either --prompt TEXT or --data FILE"),
        (["--prompt", "x", "--data", "y"], "either --prompt TEXT or --data FILE"),
        (["--prompt", "x", "--top-p", "0"], "top_p must be above 0"),
        (["--prompt", "x", "--top-p", "1.5"], "top_p must be above 0"),
        (["--prompt", "x", "--min-p", "2"], "min_p must be from 0"),
        (["--prompt", "x", "--temperature", "-1"], "temperature must be 0"),
        (["--prompt", "x", "--num-samples", "2"], "--num-samples: at temperature 0"),
        (["--prompt", "x", "--top-k", "5", "--min-p", "0.1"], "--top-k, --min-p: at"),
        (["--prompt", "x", "--temperature", "0", "--top-p", "0.5"], "--top-p: at"),
        (["--prompt", "x" * 400], "tokens"),
    ],
)
def test_mistakes_of_generate_are_one_paragraph(
    tiny_model, flags, message, capsys, monkeypatch
):
    monkeypatch.setattr("jaxalign.recipes.runs.policy.Policy.load", _never)
    ended(["generate", "--model", tiny_model, *flags], 2)
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n\n" not in error


def test_filters_of_the_checkpoint_or_switched_off_are_no_mistake(draw_model, capsys):
    model = draw_model(1, 1.0)
    settings = {"eos_token_id": 259, "do_sample": True, "top_k": 5, "top_p": 0.5}
    (model / "generation_config.json").write_text(json.dumps(settings))
    flags = ["--prompt", "x", "--temperature", "0", "--max-new-tokens", "2"]
    ended(["generate", "--model", model, *flags], 0)
    off = ["--top-k", "0", "--top-p", "1", "--min-p", "0"]
    ended(["generate", "--model", model, *flags, *off], 0)
    assert "greedy" in capsys.readouterr().out


def test_generate_does_not_write_over_the_rows_it_reads(tiny_model, tmp_path, capsys):
    file = write(tmp_path / "rows.jsonl", [{"prompt": "5"}])
    (tmp_path / "link.jsonl").symlink_to(file)
    rows, link = str(file), str(tmp_path / "link.jsonl")
    argv = ["generate", "--model", str(tiny_model), "--data", rows, "--output", link]
    ended(argv, 2)
    assert "is the file of --data" in squeezed(capsys.readouterr().err)
    assert (tmp_path / "rows.jsonl").read_text().count("prompt") == 1
