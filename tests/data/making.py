"""The same rows in every kind of file, written by other people's writers."""

import gzip
import json
import pathlib
from collections.abc import Callable

PAIRS = [
    {"prompt": f"Wie heißt {i}? 名前", "chosen": f"Ada {i}", "rejected": f"Bob\n{i}"}
    for i in range(7)
]


def lines(rows) -> bytes:
    return b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in rows)


def jsonl(path: pathlib.Path, rows) -> str:
    path = path.with_suffix(".jsonl")
    path.write_bytes(lines(rows))
    return str(path)


def jsonl_gz(path: pathlib.Path, rows) -> str:
    path = path.with_suffix(".jsonl.gz")
    path.write_bytes(gzip.compress(lines(rows)))
    return str(path)


def jsonl_zst(path: pathlib.Path, rows) -> str:
    import zstandard

    path = path.with_suffix(".jsonl.zst")
    half = len(rows) // 2  # two frames: both must be read
    frames = [zstandard.compress(lines(part)) for part in (rows[:half], rows[half:])]
    path.write_bytes(b"".join(frames))
    return str(path)


def json_list(path: pathlib.Path, rows) -> str:
    path = path.with_suffix(".json")
    path.write_text(json.dumps(rows), encoding="utf-8")
    return str(path)


def json_lines(path: pathlib.Path, rows) -> str:
    path = path.with_suffix(".json")
    path.write_bytes(lines(rows))
    return str(path)


def comma_separated(path: pathlib.Path, rows) -> str:
    import csv

    path = path.with_suffix(".csv")
    names = list(rows[0]) if rows else ["prompt"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def parquet(path: pathlib.Path, rows) -> str:
    import pyarrow
    import pyarrow.parquet

    path = path.with_suffix(".parquet")
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, path, row_group_size=3)
    return str(path)


def arrow(path: pathlib.Path, rows) -> str:
    import pyarrow
    import pyarrow.ipc

    path = path.with_suffix(".arrow")
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return str(path)


def array_record(path: pathlib.Path, rows) -> str:
    path = path.with_suffix(".array_record")
    write_array_record(path, [json.dumps(row).encode() for row in rows])
    return str(path)


def write_array_record(path: pathlib.Path, payloads) -> None:
    from array_record.python import array_record_module  # pyright: ignore

    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for payload in payloads:
        writer.write(payload)
    writer.close()


def array_record_of_examples(path: pathlib.Path, rows) -> str:
    path = path.with_suffix(".array_record")
    write_array_record(path, [example(row) for row in rows])
    return str(path)


def example(row) -> bytes:
    """A row as `tf.train.Example`, by TFDS's serialiser."""
    import numpy as np
    from tensorflow_datasets.core import example_serializer, features

    spec = {}
    for name, value in row.items():
        first = value[0] if isinstance(value, list) else value
        kind = {str: np.object_, int: np.int64, float: np.float32}[type(first)]
        shape = (len(value),) if isinstance(value, list) else ()
        spec[name] = features.TensorInfo(shape=shape, dtype=kind)
    return example_serializer.ExampleSerializer(spec).serialize_example(row)


def tfrecord(path: pathlib.Path, rows) -> str:
    return write_tfrecord(path, [json.dumps(row).encode() for row in rows])


def write_tfrecord(path: pathlib.Path, payloads) -> str:
    """A TFRecord file by the writer of tensorboardX, checksums its own."""
    from tensorboardX.record_writer import RecordWriter

    path = path.with_suffix(".tfrecord")
    writer = RecordWriter(str(path))
    for payload in payloads:
        writer.write(payload)
    writer.close()
    return str(path)


WRITERS: dict[str, Callable[[pathlib.Path, list], str]] = {
    f.__name__: f
    for f in (
        jsonl, jsonl_gz, jsonl_zst, json_list, json_lines, comma_separated, parquet,
        arrow, array_record, array_record_of_examples, tfrecord,
    )
}  # fmt: skip
