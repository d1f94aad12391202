"""Damaged, missing and changing files: each is named, with what to do."""

import gzip
import os
import pathlib
import sys

import pytest

from jaxalign.data.sources.source import open_source
from jaxalign.errors import UserError
from tests.data import making


@pytest.fixture(params=making.WRITERS)
def writer(request):
    return making.WRITERS[request.param]


def rows_of(source):
    return [source[i] for i in range(len(source))]


@pytest.mark.parametrize("share", [0.3, 0.95])
def test_a_file_cut_off_is_named(writer, share, tmp_path):
    path = writer(tmp_path / "pairs", making.PAIRS)
    size = os.path.getsize(path)
    os.truncate(path, int(size * share))
    with pytest.raises(UserError, match=f"{path}.*(cut off|damaged)"):
        rows_of(open_source(path))


def test_no_rows(writer, tmp_path):
    if writer in (making.parquet, making.arrow):
        pytest.skip("needs a schema to write")
    path = writer(tmp_path / "none", [])
    with pytest.raises(UserError, match=r"none\..*: holds 0 rows; at least 1"):
        open_source(path)


def test_an_empty_file(writer, tmp_path):
    path = writer(tmp_path / "pairs", making.PAIRS)
    os.truncate(path, 0)
    with pytest.raises(UserError, match="pairs"):
        open_source(path)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_file_swapped_while_it_is_read_is_noticed(kind, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxalign.data.sources.blob.IN_MEMORY", 10)
    path = making.WRITERS[kind](tmp_path / "pairs", making.PAIRS)
    source, before = open_source(path), open_source(path).fingerprint()
    swapped = making.WRITERS[kind](tmp_path / "other", making.PAIRS[::-1])
    os.replace(swapped, path)
    with pytest.raises(UserError, match="changed since it was opened"):
        source[0]
    assert open_source(path).fingerprint() != before


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("a.jsonl:0.5,b.jsonl", "`b.jsonl` has no weight"),
        ("a.jsonl,,b.jsonl", "stray comma"),
        ("a.jsonl:0", "not positive"),
        ("model.pkl", "never opened"),
        ("notes.txt", "not a known kind of data file"),
        ("gs-nothing://bucket/a.jsonl", "gs-nothing"),
        ("tfds:", "tfds:NAME:SPLIT"),
    ],
)
def test_mistakes_in_the_spec(spec, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"text": "x"}\n')
    for name in ("model.pkl", "notes.txt"):
        (tmp_path / name).write_bytes(b"\x80\x04}.")
    with pytest.raises(UserError, match=message):
        open_source(spec)


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": "a", "prompt": "z", "completion": "b"}',
        '{"prompt": [{"role": "user", "content": "a", "content": "z"}]}',
    ],
)
def test_a_key_that_stands_twice_is_refused(line, tmp_path):
    """Python would take the last one, and nobody would hear of the other."""
    (tmp_path / "a.jsonl").write_text('{"prompt": "x"}\n' + line + "\n")
    source = open_source(str(tmp_path / "a.jsonl"))
    with pytest.raises(UserError, match=r'a\.jsonl:2: the key ".*" stands twice'):
        rows_of(source)


def test_missing_gcs_support_says_what_to_install(monkeypatch):
    fsspec = pytest.importorskip("fsspec")

    def missing(url):
        raise ImportError("Please install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(UserError, match="pip install gcsfs"):
        open_source("gs://bucket/pairs.jsonl")


def test_missing_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    path = making.parquet(tmp_path / "pairs", making.PAIRS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install jaxalign\[parquet\]"):
        open_source(path)


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxalign.data.sources.files.MAX_UNPACKED", 1 << 22)
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(gzip.compress(b" " * (1 << 23)))
    with pytest.raises(UserError, match="unpacks to more than"):
        open_source(str(path))


@pytest.mark.parametrize("kind", ["tfrecord", "array_record", "jsonl_gz"])
def test_one_letter_changed_is_noticed(kind, tmp_path):
    path = pathlib.Path(making.WRITERS[kind](tmp_path / "pairs", making.PAIRS))
    content = path.read_bytes()
    if kind == "jsonl_gz":  # packed without compression, so that the letter is there
        content = gzip.compress(gzip.decompress(content), compresslevel=0)
    assert b"Ada 3" in content
    path.write_bytes(content.replace(b"Ada 3", b"Eva 3"))
    with pytest.raises(UserError, match="pairs.*(damaged|checksum)"):
        rows_of(open_source(str(path)))
