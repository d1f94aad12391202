"""Real preference pairs and instructions, from the file to packed batches."""

import itertools
import json

import pytest

from jaxalign.data.packing.batches import Batches
from jaxalign.data.packing.pack import pad_fraction
from jaxalign.data.records.read import detect_format, read_records
from jaxalign.data.sources.source import open_source
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.prepare import encode_all
from tests.data.chat_fixtures import chatml
from tests.data.examples import alone, read_back

COUNT = 150


def read(file, task, encoder):
    source = open_source(str(file))
    records = read_records(source, detect_format(source, task), on_bad_row="drop")
    return encode_all(itertools.islice(records, COUNT), encoder)


def raw(file):
    return [json.loads(x) for x in file.read_text(encoding="utf-8").split("\n") if x]


def test_instructions_train_their_output(test_data, tmp_path):
    file = test_data / "instruct_pref" / "instruct_pref.jsonl"
    tokenizer = chatml(tmp_path)
    examples, report = read(file, "sft", Encoder(tokenizer))
    outputs = {row["output"] for row in raw(file)}
    for example in examples:
        (x,) = example.sequences
        text = tokenizer.decode(x.ids[x.trained])
        assert text.removesuffix("<|im_end|>") in outputs
    assert report.stop_share == 1.0


@pytest.mark.parametrize("folder", ["hh_rlhf", "instruct_pref"])
def test_pairs_train_the_end_of_each_side(folder, test_data, tmp_path):
    (file,) = (test_data / folder).glob("*.jsonl")
    tokenizer = chatml(tmp_path)
    examples, report = read(file, "preference", Encoder(tokenizer))
    assert report.stop_share == 1.0
    ends = {side: [row[side] for row in raw(file)] for side in ("chosen", "rejected")}
    for example in examples:
        for side, x in zip(("chosen", "rejected"), example.sequences, strict=True):
            last = tokenizer.decode(x.ids[x.trained]).removesuffix("<|im_end|>")
            last = last.rpartition("<|im_end|>")[2]
            assert any(text.rstrip().endswith(last.rstrip()) for text in ends[side])


def test_packed_pairs_are_what_they_are_alone(test_data, tmp_path):
    (file,) = (test_data / "instruct_pref").glob("*.jsonl")
    examples, _ = read(file, "preference", Encoder(chatml(tmp_path)))
    batches = Batches(examples, batch_size=32, seed=1)
    by_id = {x.index: x for x in examples}
    found = read_back(batches[0])
    assert len(found) == 32
    assert found == {i: alone(by_id[i]) for i in found}
    assert pad_fraction(batches[0]) < 0.3
