"""The texts of a tokenizer's folder, changed in many ways: read, or a sentence."""

import json

import pytest

from jaxalign.data.text.tokenizer import load_tokenizer
from jaxalign.errors import UserError
from jaxalign.json_file import read_text
from tests.data.chat_fixtures import model_folder, template_text
from tests.mutants import (
    WRONG_TEXTS,
    as_json,
    changed,
    is_one_paragraph,
    refused_in_a_sentence,
)

FILES = {
    "tokenizer_config.json": {
        "bos_token": "<s>",
        "eos_token": {"content": "<|im_end|>", "special": True},
        "pad_token": None,
        "add_bos_token": False,
        "chat_template": [{"name": "default", "template": "{{ messages }}"}],
    },
    "special_tokens_map.json": {"unk_token": "<unk>", "sep_token": {"content": "<s>"}},
    "generation_config.json": {"eos_token_id": [0, 2]},
    "added_tokens.json": {"<x>": 7},
}
NO_REASON_TO_FAIL = ("added_tokens.json",)  # it says what tokenizer.json says too


@pytest.fixture
def folder(tmp_path):
    folder = model_folder(tmp_path / "model", bos="<s>")
    for name, data in FILES.items():
        (folder / name).write_bytes(as_json(data))
    return folder


def test_the_files_are_good_to_begin_with(folder):
    assert load_tokenizer(folder).stop_ids >= {0, 2}


@pytest.mark.parametrize("name", FILES)
def test_every_key_of_the_small_files(name, folder):
    for what, wrong in changed(FILES[name]):
        (folder / name).write_bytes(as_json(wrong))
        with refused_in_a_sentence(f"{name}: {what}"):
            load_tokenizer(folder)


@pytest.mark.parametrize("name", [*FILES, "tokenizer.json", "chat_template.jinja"])
def test_a_file_that_is_something_else(name, folder):
    for what, text in WRONG_TEXTS.items():
        (folder / name).write_bytes(text)
        with refused_in_a_sentence(f"{name}: {what}"):
            load_tokenizer(folder)
            is_read = name not in (*NO_REASON_TO_FAIL, "chat_template.jinja")
            assert not is_read, f"{name} is {what} and was not refused"


def test_every_key_of_a_tokenizer(folder):
    file = folder / "tokenizer.json"
    good = json.loads(file.read_text())
    parts = {k: v for k, v in good.items() if k != "model"}
    parts["added_tokens"] = parts["added_tokens"][:1]
    model = {k: v for k, v in good["model"].items() if k not in ("vocab", "merges")}
    for what, wrong in changed(parts, 4):
        rest = {"model": good["model"], "added_tokens": good["added_tokens"]}
        file.write_bytes(as_json({**rest, **wrong}))
        with refused_in_a_sentence(what):
            load_tokenizer(folder).encode("a text")
    for what, wrong in changed(model):
        file.write_bytes(as_json({**good, "model": {**good["model"], **wrong}}))
        with refused_in_a_sentence(what):
            load_tokenizer(folder).encode("a text")


VOCABULARIES = {
    "none": {},
    "a negative id": {"a": -1},
    "a huge id": {"a": 2**40},
    "one far away": {"a": 2**31 - 1},
    "two of one id": {"a": 0, "b": 0},
    "an id that is text": {"a": "0"},
    "a list": ["a"],
}


@pytest.mark.parametrize("what", VOCABULARIES)
def test_vocabularies_that_cannot_be(what, folder):
    file = folder / "tokenizer.json"
    good = json.loads(file.read_text())
    model = {**good["model"], "vocab": VOCABULARIES[what], "merges": []}
    for added in (good["added_tokens"], []):
        file.write_bytes(as_json({**good, "model": model, "added_tokens": added}))
        with refused_in_a_sentence(what):
            load_tokenizer(folder)
    if what == "none":
        (folder / "tokenizer_config.json").write_text("{}")
        with pytest.raises(UserError, match="holds no tokens"):
            load_tokenizer(folder)


def with_pattern(folder, pattern):
    file = folder / "tokenizer.json"
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    file.write_bytes(as_json({**json.loads(file.read_text()), "pre_tokenizer": split}))
    return folder


@pytest.mark.parametrize("pattern", ["(a+)+$", r"(\w+\s?)*$", "(x+x+)+y"])
def test_a_pattern_that_explodes_is_refused_quietly(pattern, folder, capfd):
    with pytest.raises(UserError, match=r"its pattern .* takes .* s on") as error:
        load_tokenizer(with_pattern(folder, pattern))
    assert is_one_paragraph(str(error.value))
    assert capfd.readouterr() == ("", "")


def test_a_pattern_that_explodes_later_is_a_sentence_about_the_text(folder):
    """Nothing that is tried at first sets it off."""
    tokenizer = load_tokenizer(with_pattern(folder, "(?<=bcbc)(b|bc|c|cb|bcb)+$"))
    with pytest.raises(UserError, match="cannot split a text of 202 characters"):
        tokenizer.encode("bc" * 100 + "!d")


def test_patterns_in_use_are_taken(folder):
    llama3 = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    ids, _ = load_tokenizer(with_pattern(folder, llama3)).encode("It's 12345 words")
    assert len(ids)


def test_a_template_of_another_encoding_is_a_sentence(tmp_path):
    folder = model_folder(tmp_path, template=template_text("chatml.jinja"))
    mine = tmp_path / "mine.jinja"
    mine.write_bytes("{# é #}".encode("latin-1"))
    with pytest.raises(UserError, match=r"mine\.jinja is not UTF-8 text"):
        load_tokenizer(folder, chat_template=str(mine))


def test_line_ends_are_those_of_text(tmp_path):
    """As other libraries read a template: a carriage return is no token."""
    file = tmp_path / "a.jinja"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(file) == "a\nb\nc\n"
