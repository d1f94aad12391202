"""Every source gives the same rows, by index, however they are stored."""

import copy
import json
import shutil
import time

import numpy as np
import pytest

from jaxalign.data.sources.source import Concatenated, Weighted, open_source
from jaxalign.errors import UserError
from tests.data import making


@pytest.fixture(params=making.WRITERS)
def writer(request):
    return making.WRITERS[request.param]


def rows_of(source):
    return [source[i] for i in range(len(source))]


def test_same_rows_in_every_container(writer, tmp_path):
    source = open_source(writer(tmp_path / "pairs", making.PAIRS))
    assert len(source) == len(making.PAIRS)
    assert rows_of(source) == making.PAIRS
    assert source[5] == making.PAIRS[5]  # out of order too
    assert source[-1] == making.PAIRS[-1]
    with pytest.raises(IndexError):
        source[len(making.PAIRS)]


def test_one_row(writer, tmp_path):
    source = open_source(writer(tmp_path / "one", making.PAIRS[:1]))
    assert rows_of(source) == making.PAIRS[:1]


def test_a_row_of_a_million_characters(writer, tmp_path):
    rows = [{"text": "ab c" * 250_000, "id": "long"}, {"text": "b", "id": "short"}]
    path = writer(tmp_path / "long", rows)
    start = time.process_time()
    assert rows_of(open_source(path)) == rows
    assert time.process_time() - start < 2.0


def test_fingerprint_follows_the_content(writer, tmp_path):
    before = open_source(writer(tmp_path / "a", making.PAIRS)).fingerprint()
    copy = writer(tmp_path / "b", making.PAIRS)
    if "gz" not in copy:  # its header holds the time; the unpacked bytes count
        assert open_source(copy).fingerprint() == before
    changed = [*making.PAIRS[:-1], {**making.PAIRS[-1], "chosen": "Eve 6"}]
    assert open_source(writer(tmp_path / "a", changed)).fingerprint() != before


def test_copies_read_on_their_own(writer, tmp_path):
    source = open_source(writer(tmp_path / "pairs", making.PAIRS))
    again = copy.copy(source)
    assert again[3] == making.PAIRS[3]
    assert again.fingerprint() == source.fingerprint()


def test_where_counts_lines_and_skips_blank_ones(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n  \n{"text": "b"}')
    source = open_source(str(path))
    assert rows_of(source) == [{"text": "a"}, {"text": "b"}]
    assert [source.where(i) for i in range(2)] == [f"{path}:1", f"{path}:4"]


def test_large_files_are_read_by_offset(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxalign.data.sources.blob.IN_MEMORY", 10)
    monkeypatch.setattr("jaxalign.data.sources.blob._CHUNK", 64)
    monkeypatch.setattr("jaxalign.data.sources.array_record.IN_MEMORY", 10)
    for kind in ("jsonl", "tfrecord", "array_record"):
        path = making.WRITERS[kind](tmp_path / "pairs", making.PAIRS)
        source = open_source(path)
        assert rows_of(source) == making.PAIRS
        again = copy.copy(source)
        assert again[2] == making.PAIRS[2]


def test_globs_and_lists_come_in_order(tmp_path):
    for name, k in (("b", 3), ("a", 0), ("c", 5)):
        making.jsonl(tmp_path / name, making.PAIRS[k : k + 2])
    source = open_source(f"{tmp_path}/*.jsonl")
    assert isinstance(source, Concatenated)
    expected = [making.PAIRS[k] for k in (0, 1, 3, 4, 5, 6)]
    assert rows_of(source) == expected
    assert source[-1] == expected[-1]
    assert source.where(2) == f"{tmp_path}/b.jsonl:1"
    listed = open_source(f"{tmp_path}/c.jsonl, {tmp_path}/a.jsonl")
    assert rows_of(listed) == [making.PAIRS[k] for k in (5, 6, 0, 1)]
    assert listed.fingerprint() != source.fingerprint()


def test_weights_are_proportions_and_every_row_is_shown(tmp_path):
    for name, n in (("a", 30), ("b", 40)):
        making.jsonl(tmp_path / name, [{"text": f"{name}{i}"} for i in range(n)])
    source = open_source(f"{tmp_path}/a.jsonl:3,{tmp_path}/b.jsonl:1")
    assert isinstance(source, Weighted)
    texts = [row["text"] for row in rows_of(source)]
    assert len(texts) == 160
    assert len(set(texts)) == 70
    for end in range(8, 161, 8):  # evenly mixed all along
        assert abs(sum(t[0] == "a" for t in texts[:end]) - 0.75 * end) <= 1
    assert [t for t in texts if t[0] == "b"] == [f"b{i}" for i in range(40)]
    assert source.where(texts.index("b7")) == f"{tmp_path}/b.jsonl:8"


def test_sizes_that_do_not_divide_lose_no_row():
    class Range:
        def __init__(self, n):
            self.n = n

        def __len__(self):
            return self.n

        def __getitem__(self, i):
            return {"i": i}

    rng = np.random.default_rng(0)
    for _ in range(300):
        sizes, weights = rng.integers(1, 40, size=3), rng.uniform(0.1, 1, size=3)
        mixed = Weighted([Range(n) for n in sizes], list(weights))  # pyright: ignore
        seen = {(int(p), int(r)) for p, r in zip(mixed._part, mixed._row, strict=True)}
        assert len(seen) == sum(sizes)


def test_names_with_commas_colons_and_spaces(tmp_path):
    path = tmp_path / "my pairs, v1:0.5.jsonl"
    path.write_bytes(making.lines(making.PAIRS))
    assert len(open_source(str(path))) == 7


def test_remote_files(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    content = making.lines(making.PAIRS)
    fsspec.filesystem("memory").pipe({"/set/a.jsonl": content, "/set/b.jsonl": content})
    assert rows_of(open_source("memory://set/a.jsonl")) == making.PAIRS
    assert len(open_source("memory://set/*.jsonl")) == 14
    with pytest.raises(UserError, match="no such file"):
        open_source("memory://set/c.jsonl")


def test_real_files_have_the_rows_their_notes_say(test_data):
    counts = {
        "hh_rlhf/harmless_base": 1809,
        "pandalm/pairs": 757,
        "instruct_pref/instruct_pref": 892,
        "self_instruct/seed_tasks": 146,
        "self_instruct/user_oriented": 197,
        "pararel/qa": 13189,
        "nq_open/dev": 2863,
        "nq_open/efficientqa_dev": 1429,
        "nq_open/efficientqa_test": 1452,
        "selfaware/questions": 2709,
        "truthfulqa/questions": 658,
        "movie_reviews/sentences": 8574,
        "gsm8k/train": 5968,
        "gsm8k/test": 1059,
        "mt_bench/questions": 62,
    }
    found = {}
    for name in counts:
        source = open_source(str(test_data / f"{name}.jsonl"))
        found[name] = len(rows_of(source))
    assert found == counts


def test_folders(tmp_path):
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("notes")
    (folder / "dataset_infos.json").write_text("{}")
    for name in ("train-00000-of-00002", "train-00001-of-00002"):
        making.parquet(folder / "data" / name, making.PAIRS)
    assert len(open_source(str(folder))) == 14
    making.parquet(folder / "data" / "test-00000-of-00001", making.PAIRS[:2])
    with pytest.raises(UserError, match="several splits: test, train"):
        open_source(str(folder))
    assert rows_of(open_source(f"{folder}:test")) == making.PAIRS[:2]
    assert len(open_source(f"{folder}:test,{folder}:train")) == 16
    with pytest.raises(UserError, match="no split `dev`; it has test, train"):
        open_source(f"{folder}:dev")
    making.jsonl(folder / "more", making.PAIRS)
    with pytest.raises(UserError, match=r"several kinds \(jsonl, parquet\)"):
        open_source(f"{folder}:train")
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(UserError, match="no data file"):
        open_source(str(folder))


def test_a_dataset_saved_by_hugging_face(tmp_path):
    """Laid out as `save_to_disk` does: Arrow streams listed in state.json."""
    for split, rows in (("train", making.PAIRS), ("test", making.PAIRS[:3])):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        making.arrow(folder / "data-00000-of-00002", rows[:2])
        making.arrow(folder / "data-00001-of-00002", rows[2:])
        names = [{"filename": f"data-0000{i}-of-00002.arrow"} for i in range(2)]
        state = json.dumps({"_data_files": names})
        (folder / "state.json").write_text(state)
        (folder / "dataset_info.json").write_text("{}")
    (tmp_path / "saved" / "dataset_dict.json").write_text(
        '{"splits": ["train", "test"]}'
    )
    assert rows_of(open_source(f"{tmp_path}/saved:train")) == making.PAIRS
    assert rows_of(open_source(f"{tmp_path}/saved/test")) == making.PAIRS[:3]
