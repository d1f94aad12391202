"""`tf.train.Example` and checksums, against other people's writers."""

import contextlib
import random
import struct

import pytest

from jaxalign.data.sources.source import open_source
from jaxalign.data.sources.tf_example import decode_payload
from jaxalign.data.sources.tfrecord import crc32c
from jaxalign.errors import RowError
from tests.data import making

ROW = {
    "text": "名前 é",
    "small": -1,
    "large": 2**62,
    "least": -(2**63),
    "numbers": [0, 127, 128, -300],
    "half": 0.5,
    "floats": [1.0, -2.5, 3.25],
    "texts": ["a", "", "c\n"],
}


def test_every_kind_of_feature():
    assert decode_payload(making.example(ROW), "x[0]") == ROW


def test_of_every_length():
    """Lengths whose bytes are white space or a brace begin no JSON."""
    for n in range(140):
        row = {"text": "x" * n}
        assert decode_payload(making.example(row), "x[0]") == row
    assert decode_payload(b'\n {"text": "hi"}', "x[0]") == {"text": "hi"}


def test_in_tfrecord_and_array_record(tmp_path):
    payloads = [making.example({**ROW, "small": i}) for i in range(3)]
    making.write_array_record(tmp_path / "x.array_record", payloads)
    making.write_tfrecord(tmp_path / "x", payloads)
    for kind in ("array_record", "tfrecord"):
        source = open_source(f"{tmp_path}/x.{kind}")
        assert [source[i] for i in range(3)] == [{**ROW, "small": i} for i in range(3)]


def test_unpacked_numbers():
    """Old writers store each number of a list as a field of its own."""
    ints = b"".join(b"\x08" + bytes([n]) for n in (1, 2, 3))
    floats = b"".join(b"\x0d" + struct.pack("<f", x) for x in (0.5, 1.5))

    def entry(name, kind, values):
        feature = bytes([kind << 3 | 2, len(values)]) + values
        body = b"\x0a" + bytes([len(name)]) + name + b"\x12"
        body += bytes([len(feature)]) + feature
        return b"\x0a" + bytes([len(body)]) + body

    features = entry(b"i", 3, ints) + entry(b"f", 2, floats)
    payload = b"\x0a" + bytes([len(features)]) + features
    assert decode_payload(payload, "x[0]") == {"i": [1, 2, 3], "f": [0.5, 1.5]}


def test_damaged_payloads_raise_row_errors_only():
    good, rng = making.example(ROW), random.Random(0)
    for trial in range(2000):
        bad = bytearray(good)
        if trial % 2:
            del bad[rng.randrange(len(bad)) :]
        else:
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        with contextlib.suppress(RowError):
            decode_payload(bytes(bad), "x[0]")
    for junk in (b"", b"\0", b"\xff" * 20, b"not a record", b"[1]"):
        with pytest.raises(RowError, match=r"x\[0\]: .* neither a JSON object nor"):
            decode_payload(junk, "x[0]")


@pytest.mark.parametrize(
    ("data", "checksum"),
    [  # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc32c(data, checksum):
    assert crc32c(data) == checksum
