"""CSV and TSV files: cells as they stand, and damage named by its line."""

import csv
import gzip

import pytest

from jaxalign.data.records.read import detect_format, read_records
from jaxalign.data.records.record import Message, Unpaired
from jaxalign.data.sources.source import open_source
from jaxalign.errors import RowError, UserError


def source_of(tmp_path, content, name="rows.csv"):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_source(str(file))


def rows_of(source):
    return [source[i] for i in range(len(source))]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1,2\n", [{"a": "1", "b": "2"}]),
        ("a,b\r\n1,2\r\n", [{"a": "1", "b": "2"}]),
        ("\ufeffa,b\n1,2", [{"a": "1", "b": "2"}]),
        ('a,b\n"x, y","he said ""no"""\n', [{"a": "x, y", "b": 'he said "no"'}]),
        ('a,b\n"x\ny",2\n', [{"a": "x\ny", "b": "2"}]),
        ("a,b\n007,4.0\n", [{"a": "007", "b": "4.0"}]),
        ("a,b\n,2\n", [{"a": None, "b": "2"}]),
        ("a,b\n\n1,2\n\n", [{"a": "1", "b": "2"}]),
        (" a , b\n1,2\n", [{"a": "1", "b": "2"}]),
        (",a\n0,x\n", [{"column_1": "0", "a": "x"}]),
        ("sep=;\r\na;b\r\nx, y;2\r\n", [{"a": "x, y", "b": "2"}]),
        ("a;b\nx, y;2\n", [{"a": "x, y", "b": "2"}]),
        ("a|b\nx, y|2\nz|3\n", [{"a": "x, y", "b": "2"}, {"a": "z", "b": "3"}]),
        ("a\tb\nx,y\t2\n", [{"a": "x,y", "b": "2"}]),
        ("text\nx, y\nz\n", None),  # no delimiter fits: the second row has two cells
        ("text\nx; y\nz\n", [{"text": "x; y"}, {"text": "z"}]),
    ],
)
def test_cells(tmp_path, content, rows):
    source = source_of(tmp_path, content)
    if rows is None:
        with pytest.raises(
            RowError, match=r"rows.csv:2: 2 cells, and the header has 1"
        ):
            rows_of(source)
    else:
        assert rows_of(source) == rows


def test_tab_separated_and_compressed(tmp_path):
    expected = [{"a": "x,y", "b": "2"}]
    assert rows_of(source_of(tmp_path, "a\tb\nx,y\t2\n", "r.tsv")) == expected
    packed = gzip.compress(b"a\tb\nx,y\t2\n")
    assert rows_of(source_of(tmp_path, packed, "r.tsv.gz")) == expected


def test_places_are_the_lines_where_records_begin(tmp_path):
    source = source_of(tmp_path, 'a,b\n"x\ny",2\n\n3,4\n')
    assert [source.where(i)[-10:] for i in range(2)] == ["rows.csv:2", "rows.csv:5"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n1,2,3\n", "rows.csv:3: 3 cells, and the header has 2"),
        ("a,b\n1,2\n1", "rows.csv:3: 1 cells.*may be cut off"),
        ('a,b\n1,"2\n3,4\n', "rows.csv:2: the file is cut off.*a quote is not closed"),
        ('a,b\n1,"2"x\n', "rows.csv:2: .*a quote is not closed"),
        ("a,a\n1,2\n", "two columns are called `a`"),
        ("", "no header"),
        ("a,b\n", "holds 0 rows"),
        (b"a,b\n1,\xe9\n", "rows.csv:2: byte 0xe9 is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text"),
    ],
)
def test_damage_is_named(tmp_path, content, said):
    with pytest.raises(UserError, match=said):
        rows_of(source_of(tmp_path, content))


def test_the_limit_of_the_csv_module_is_as_it_was(tmp_path):
    before = csv.field_size_limit()
    source = source_of(tmp_path, f"text\n{'ab ' * 100_000}\n")
    assert len(source[0]["text"]) == 300_000
    assert csv.field_size_limit() == before


def test_rows_of_a_table_become_records(tmp_path):
    """Written by Python's own writer, read back as the records of JSON lines."""
    file = tmp_path / "rows.csv"
    messages = '[{"role": "user", "content": "hi, you"}]'
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["prompt", "completion", "label", "note"])
        writer.writerow([messages, 'he said "yo"\nand left', "True", "007"])
        writer.writerow([messages, "no", "0", ""])
    source = open_source(str(file))
    records = list(read_records(source, detect_format(source, "unpaired")))
    prompt = (Message("user", "hi, you"),)
    answers = ['he said "yo"\nand left', "no"]
    expected = [
        Unpaired(
            prompt,
            (Message("assistant", answer),),
            label,
            where=f"{file}:{line}",
            extra=extra,
        )
        for answer, label, line, extra in zip(
            answers, (True, False), (2, 4), ({"note": "007"}, {}), strict=True
        )
    ]
    assert records == expected
