"""What is printed of data: nothing that a terminal obeys, trained text marked."""

import re

import numpy as np
import pytest

from jaxalign.data.text.example import TokenSequence
from jaxalign.data.text.preview import marked, printable
from tests.data.chat_fixtures import chatml


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("over\rwritten", r"over\rwritten"),
        ("back\b\b\x07", r"back\x08\x08\x07"),
        ("\x9b2Jgone\x7f", r"\x9b2Jgone\x7f"),
        ("\u202eback to front", r"\u202eback to front"),
        ("half \ud83d", r"half \ud83d"),
        ("nul\x00", r"nul\x00"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert printable(text) == shown


def test_everything_else_stays():
    text = "tab\tline\nnaïve 名前 😀 👩\u200d🚀 \\x1b [[x]] שלום مرحبا"
    assert printable(text) == text
    every = "".join(map(chr, range(0x110000)))
    left = printable(every)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", left)


def test_trained_text_stands_in_brackets(tmp_path):
    tokenizer = chatml(tmp_path)
    asked, answer = (tokenizer.encode(x)[0] for x in ("ask\x1b[1m", " answer"))
    ids = np.concatenate([asked, answer])
    trained = np.arange(len(ids)) >= len(asked)
    pieces = marked(tokenizer, TokenSequence(ids, trained))
    assert "".join(piece for piece, _ in pieces) == r"ask\x1b[1m[[ answer]]"
    assert [on for _, on in pieces] == [False, True]
