"""Which split a file belongs to, from its name or its folder's."""

import pytest

from jaxalign.data.sources.source import open_source
from jaxalign.errors import UserError


def folder_of(tmp_path, *names):
    for i, name in enumerate(names):
        file = tmp_path / "set" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{{"text": "{i}"}}\n')
    return str(tmp_path / "set")


def texts(spec):
    source = open_source(spec)
    return [int(source[i]["text"]) for i in range(len(source))]


@pytest.mark.parametrize(
    "name",
    [
        "test.jsonl", "my_test.jsonl", "test_set.jsonl", "set-test-00.jsonl",
        "data.test.jsonl", "Test.jsonl", "my test.jsonl", "test01.jsonl", "1test.jsonl",
        "test/part.jsonl", "test/a/part.jsonl", "my_test/part.jsonl",
        "test-00000-of-00001.jsonl",
    ],
)  # fmt: skip
def test_a_test_set_is_never_trained_on(tmp_path, name):
    folder = folder_of(tmp_path, "data.jsonl", name)
    with pytest.raises(UserError, match=r"several splits: \(no name\), test"):
        open_source(folder)
    assert texts(f"{folder}:test") == [1]


@pytest.mark.parametrize(
    "name", ["latest.jsonl", "contest.jsonl", "trainer.jsonl", "devices.jsonl",
             "evaluations_by_hand.jsonl", "trains/a.jsonl", "retest-2.jsonl"],
)  # fmt: skip
def test_words_that_hold_such_a_word_are_others(tmp_path, name):
    assert sorted(texts(folder_of(tmp_path, "data.jsonl", name))) == [0, 1]


def test_splits_of_a_folder(tmp_path):
    folder = folder_of(
        tmp_path, "my-train-01.jsonl", "my-train-00.jsonl", "my-dev-00.jsonl"
    )
    assert texts(f"{folder}:train") == [1, 0]
    assert texts(f"{folder}:dev") == [2]
    with pytest.raises(UserError, match="no split `test`; it has dev, train"):
        open_source(f"{folder}:test")


def test_a_name_with_two_words_is_neither(tmp_path):
    folder = folder_of(tmp_path, "train.jsonl", "train_eval.jsonl")
    assert texts(f"{folder}:train") == [0]
    with pytest.raises(UserError, match="several splits: train, train-eval"):
        open_source(folder)


def test_a_split_named_whole_by_its_writer(tmp_path):
    names = ("train_sft-00000-of-00001.jsonl", "train_gen-00000-of-00001.jsonl")
    folder = folder_of(tmp_path, *names)
    assert texts(f"{folder}:train_gen") == [1]


def test_tables_are_read_where_nothing_else_is(tmp_path):
    folder = folder_of(tmp_path, "data.jsonl")
    (tmp_path / "set" / "labels.csv").write_text("id,label\n1,good\n")
    assert texts(folder) == [0]
    (tmp_path / "set" / "data.jsonl").unlink()
    (tmp_path / "set" / "settings.json").write_text("{}")
    assert open_source(folder)[0] == {"id": "1", "label": "good"}
