"""TFDS datasets made from files give the files' rows back, without TensorFlow."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from jaxalign.data.builders import prepare_tfds
from jaxalign.data.sources.source import open_source
from jaxalign.errors import UserError
from tests.data import making

ODD = [
    {
        "prompt": [{"role": "user", "content": "hi 名"}],
        "chosen": [{"role": "assistant", "content": "a", "name": "bot"}],
        "rejected": [{"role": "assistant", "content": "b"}],
        "score": 1 / 3,
        "n": -7,
        "flag": True,
        "tags": ["x", "y"],
        "sometimes": "",
        "nested": {"a": [1, None]},
        "nothing": None,
    },
    {
        "prompt": [{"role": "user", "content": "ho"}],
        "chosen": [{"role": "assistant", "content": "c"}],
        "rejected": [{"role": "assistant", "content": "d"}],
        "score": 2.5,
        "n": 2**40,
        "flag": False,
        "tags": ["z"],
        "nested": {},
        "nothing": None,
    },
]


def rows_of(source):
    return [source[i] for i in range(len(source))]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data folder with the dataset `odd` of two splits, and `pairs`."""
    folder = tmp_path_factory.mktemp("tfds")
    files = {
        "train": making.jsonl(folder / "odd", ODD),
        "test": making.jsonl(folder / "odd_test", ODD[1:]),
    }
    prepare_tfds("odd", files, folder / "data")
    prepare_tfds("pairs", making.jsonl(folder / "p", making.PAIRS), folder / "data")
    return folder / "data"


def test_rows_come_back_as_they_were(prepared):
    assert rows_of(open_source(f"{prepared}/odd:train")) == ODD
    assert rows_of(open_source(f"{prepared}/odd/1.0.0:test")) == ODD[1:]
    assert rows_of(open_source(f"{prepared}/pairs")) == making.PAIRS
    with pytest.raises(UserError, match="no split was chosen. It has train, test"):
        open_source(f"{prepared}/odd")


def test_by_name_with_slices_and_weights(prepared):
    """In a process of its own: TFDS reads TFDS_DATA_DIR when it is imported."""
    code = """
import json, sys
from jaxalign.data.sources.source import open_source
specs = sys.argv[1:]
rows = [[s[i] for i in range(len(s))] for s in map(open_source, specs)]
forbidden = sorted({"tensorflow", "jax"} & set(sys.modules))
print(json.dumps([rows, forbidden, open_source(specs[0]).where(1)]))
"""
    specs = ["tfds:pairs:train", "tfds:pairs:train[1:3]", "tfds:odd:1.0.0:test"]
    out = subprocess.run(
        [sys.executable, "-c", code, *specs, "tfds:pairs:train[:2]:1,tfds:odd:test:1"],
        env={**os.environ, "TFDS_DATA_DIR": str(prepared)},
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    (rows, part, odd, mixed), forbidden, where = json.loads(out.stdout)
    assert rows == making.PAIRS
    assert part == making.PAIRS[1:3]
    assert odd == ODD[1:]
    assert mixed == [making.PAIRS[0], ODD[1], making.PAIRS[1], ODD[1]]
    assert forbidden == []
    assert where == "tfds:pairs/1.0.0:train[1]"


def test_order_and_fingerprint(prepared):
    whole = open_source(f"{prepared}/pairs")
    part = open_source(f"{prepared}/pairs:train[2:5]")
    assert rows_of(part) == making.PAIRS[2:5]
    assert part.fingerprint() != whole.fingerprint()
    assert open_source(f"{prepared}/pairs").fingerprint() == whole.fingerprint()


def test_large_splits_are_read_from_disk(prepared, monkeypatch):
    monkeypatch.setattr("jaxalign.data.sources.tfds_source._IN_MEMORY", 0)
    assert open_source(f"{prepared}/odd:train")[1] == ODD[1]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("dev", "no such split. The splits are train"),
        ("train[", "no such split"),
    ],
)
def test_unknown_splits(prepared, split, message):
    with pytest.raises(UserError, match=message):
        open_source(f"{prepared}/pairs:{split}")


def test_unknown_dataset_is_named_with_the_nearest():
    with pytest.raises(UserError, match="no dataset `imdb_review`.*imdb_reviews"):
        open_source("tfds:imdb_review:train")


def test_a_file_cut_off_is_named(prepared, tmp_path):
    folder = prepare_tfds("cut", making.jsonl(tmp_path / "p", making.PAIRS), tmp_path)
    (file,) = [f for f in os.listdir(folder) if "array_record" in f]
    os.truncate(f"{folder}/{file}", 70_000)
    with pytest.raises(UserError, match=f"{file}.*Prepare the dataset again"):
        open_source(folder)


def test_bad_rows_stop_the_preparation_or_are_left_out(tmp_path):
    rows = [*making.PAIRS * 20, {**making.PAIRS[0], "chosen": ""}]
    file = making.jsonl(tmp_path / "rows", rows)
    with pytest.raises(UserError, match=r"rows.jsonl:141: `chosen` is an empty string"):
        prepare_tfds("rows", file, tmp_path / "data")
    assert not (tmp_path / "data" / "rows").exists()
    folder = prepare_tfds("rows", file, tmp_path / "data", on_bad_row="drop")
    assert rows_of(open_source(folder)) == rows[:-1]


def test_mistakes(prepared, tmp_path):
    file = making.jsonl(tmp_path / "p", making.PAIRS)
    with pytest.raises(UserError, match="dataset name 'My-Pairs'"):
        prepare_tfds("My-Pairs", file, tmp_path)
    with pytest.raises(UserError, match="exists already"):
        prepare_tfds("pairs", file, prepared)
    texts = making.jsonl(tmp_path / "t", [{"text": "a"}])
    with pytest.raises(UserError, match="some splits hold pairs and others do not"):
        prepare_tfds("both", {"train": file, "test": texts}, tmp_path)


def test_prompt_completion_and_other_builders(tmp_path):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]
    folder = prepare_tfds("qa", making.jsonl(tmp_path / "qa", rows), tmp_path / "data")
    assert rows_of(open_source(folder)) == rows
    info = json.loads(pathlib.Path(folder, "dataset_info.json").read_text())
    assert info["fileFormat"] == "array_record"
    assert "completions" in info["description"]
