"""Data sets by name, from a cache: no network, no code, rows as they were."""

import json
import subprocess
import sys

import pytest

from jaxalign.data.sources import hub_dataset
from jaxalign.data.sources.source import open_source
from jaxalign.errors import UserError

ROWS = [
    {"messages": [{"role": "user", "content": "hi"}], "n": 1},
    {
        "messages": [
            {"role": "user", "content": "rain?"},
            {"role": "assistant", "content": "yes", "tool_calls": [{"a": {"b": 1}}]},
        ],
        "n": 2,
    },
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that `datasets` loads like one of the Hub, with a cache of its own."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    folder = tmp_path / "set"
    folder.mkdir()
    for split, rows in (("train", ROWS), ("test", ROWS[:1])):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def without_nulls(value):
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return [without_nulls(v) for v in value] if isinstance(value, list) else value


def test_rows_and_slices(folder):
    source = open_source(f"hf:{folder}:train")
    assert [without_nulls(source[i]) for i in range(len(source))] == ROWS
    assert source[-1] == source[1]
    assert source.where(1) == f"hf:{folder}:train[1]"
    with pytest.raises(IndexError):
        source[2]
    part = open_source(f"hf:{folder}:train[50%:]")
    assert [without_nulls(row) for row in (part[0],)] == ROWS[1:]
    assert part.fingerprint() != source.fingerprint()
    assert open_source(f"hf:{folder}:train").fingerprint() == source.fingerprint()


def test_several_splits_or_none_of_that_name(folder):
    with pytest.raises(UserError, match=r"several splits: .*Choose one: hf:.*:t"):
        open_source(f"hf:{folder}")
    with pytest.raises(UserError, match='no such rows .Unknown split "dev"'):
        open_source(f"hf:{folder}:dev")


def test_a_data_set_that_is_a_program_is_refused(folder, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match="is a program .*never run"):
        open_source(f"hf:{code}")
    assert not (tmp_path / "ran").exists()


def test_pictures_stay_bytes(folder):
    datasets = pytest.importorskip("datasets")

    rows = {"image": [{"bytes": b"no picture", "path": None}], "text": ["a"]}
    kinds = datasets.Features(
        {"image": datasets.Image(), "text": datasets.Value("string")}
    )
    made = datasets.Dataset.from_dict(rows, features=kinds)
    source = hub_dataset.HubDataset(made, "pictures")
    assert source[0] == {"image": {"bytes": b"no picture", "path": None}, "text": "a"}


def test_saved_sets_hold_objects_where_they_are_stored_as_json(folder, tmp_path):
    datasets = pytest.importorskip("datasets")

    found = datasets.load_dataset(str(folder))
    found.save_to_disk(str(tmp_path / "saved"))
    source = open_source(f"{tmp_path}/saved:train")
    assert [without_nulls(source[i]) for i in range(2)] == ROWS
    found["train"].to_parquet(str(tmp_path / "rows.parquet"))
    source = open_source(f"{tmp_path}/rows.parquet")
    assert [without_nulls(source[i]) for i in range(2)] == ROWS


@pytest.mark.parametrize("spec", ["hf:owner/name:train", "owner/name", "owner/name:x"])
def test_the_package_is_named_where_it_is_missing(spec, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"pip install jaxalign\[datasets\]") as error:
        open_source(spec)
    here = "no such file or folder here" in str(error.value)
    assert here == (not spec.startswith("hf:"))


@pytest.mark.parametrize(
    "spec",
    ["folder/rows", "folder/rows.jsonl", "./a/b", "rows", "a/b/c", "/a/b", "a/*"],
)
def test_paths_are_no_names_of_the_hub(spec, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="no such file, folder or pattern"):
        open_source(spec)


def test_names_that_cannot_be_are_refused(folder):
    with pytest.raises(UserError, match="Write hf:OWNER/NAME:SPLIT"):
        open_source("hf:a/b/c/d:train")


def test_reading_files_does_not_load_the_package(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    code = (
        "import sys; from jaxalign.data.sources.source import open_source;"
        f"open_source({str(tmp_path / 'a.jsonl')!r}); print('datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
