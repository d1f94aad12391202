"""What happens to examples that are too long."""

import json
import time
from typing import Any

import numpy as np
import pytest

from jaxalign.data.records.read import open_rows, read_records
from jaxalign.data.records.record import (
    Conversation,
    Message,
    PromptCompletion,
    Tie,
)
from jaxalign.data.records.report import ReadReport
from jaxalign.data.text.encode import Encoder
from jaxalign.data.text.lengths import LengthLimits, Spread, TooLongError, apply_limits
from jaxalign.data.text.prepare import encode_all
from jaxalign.data.text.preview import segments, stop_share, trained_tokens
from jaxalign.errors import RowError, UserError
from tests.data.chat_fixtures import chatml
from tests.data.examples import answers

# Prompts of 9 and 10 tokens, answers of 4 and 2; 1 stands for the BOS.
PAIR = answers(0, [1, *range(11, 19)], [30, 31, 32, 33], [18, 40])


def limited(example=PAIR, bos=True, **limits):
    x = apply_limits(example, LengthLimits(**limits), bos=bos)
    return [(s.ids.tolist(), s.ids[s.trained].tolist(), s.clipped) for s in x.sequences]


@pytest.mark.parametrize("limits", [{}, {"max_length": 13}, {"max_prompt_length": 9}])
def test_within_the_limits_nothing_changes(limits):
    chosen, rejected = limited(**limits)
    assert chosen[0] == [1, *range(11, 19), 30, 31, 32, 33]
    assert rejected == ([1, *range(11, 19), 18, 40], [18, 40], False)


def test_a_long_answer_is_cut_and_marked():
    chosen, rejected = limited(max_length=11)
    assert chosen == ([1, *range(11, 19), 30, 31], [30, 31], True)
    assert rejected == ([1, *range(11, 19), 18, 40], [18, 40], False)


def test_cutting_what_is_not_trained_is_no_loss():
    x = answers(0, [1, 2], [3], tail=[4, 5])
    assert limited(x, max_length=3) == [([1, 2, 3], [3], False)]


@pytest.mark.parametrize("limits", [{"max_length": 9}, {"max_prompt_length": 8}])
def test_a_long_prompt_is_refused(limits):
    for on_long in ("drop", "error"):
        with pytest.raises(TooLongError, match="prompt has 9 tokens, 8 are allowed"):
            limited(**limits, on_long=on_long)


def test_sides_that_are_the_same_tie_unless_they_were_cut():
    same = answers(0, [1, 2], [30, 31, 4], [30, 31, 4])
    with pytest.raises(Tie, match="the same once they are rendered"):
        limited(same)
    cut = answers(0, [1, 2], [30, 31, 4], [30, 31, 5])
    with pytest.raises(TooLongError, match="same within max_length 4"):
        limited(cut, max_length=4)


def test_keeping_the_end_keeps_the_bos():
    chosen, rejected = limited(max_prompt_length=4, on_long="keep_end")
    assert chosen == ([1, 16, 17, 18, 30, 31, 32, 33], [30, 31, 32, 33], False)
    assert rejected == ([1, 16, 17, 18, 18, 40], [18, 40], False)
    chosen, _ = limited(max_prompt_length=4, on_long="keep_end", bos=False)
    assert chosen[0] == [15, 16, 17, 18, 30, 31, 32, 33]


def test_keeping_the_start():
    chosen, rejected = limited(max_prompt_length=4, on_long="keep_start")
    assert chosen[0] == [1, 11, 12, 13, 30, 31, 32, 33]
    assert rejected[0] == [1, 11, 12, 13, 18, 40]


def test_the_prompt_gives_way_to_the_answer_down_to_half():
    chosen, _ = limited(max_length=9, on_long="keep_end")
    assert chosen == ([1, 15, 16, 17, 18, 30, 31, 32, 33], [30, 31, 32, 33], False)
    chosen, _ = limited(max_length=6, on_long="keep_end")
    assert chosen == ([1, 17, 18, 30, 31, 32], [30, 31, 32], True)


@pytest.mark.parametrize("max_length", [2, 3, 4, 5, 9, 12])
@pytest.mark.parametrize("on_long", ["keep_end", "keep_start"])
def test_a_target_is_always_left(max_length, on_long):
    """Fault 15: truncation takes the whole answer away."""
    for ids, targets, _ in limited(max_length=max_length, on_long=on_long):
        assert len(ids) <= max_length
        assert targets


def test_answers_that_are_cut_to_the_same_are_refused():
    x = answers(0, [1], [2, 3, 4], [2, 3, 5])
    with pytest.raises(TooLongError, match="are the same within max_length 3"):
        limited(x, max_length=3)


@pytest.mark.parametrize("limits", [{"max_length": 1}, {"max_prompt_length": 0}])
def test_limits_without_room_are_refused(limits):
    with pytest.raises(UserError, match="is needed"):
        LengthLimits(**limits)


def test_spreads_by_sorting():
    lengths = np.random.default_rng(0).integers(1, 1000, 200)
    ordered = sorted(lengths.tolist())
    assert Spread.of(ordered[::-1]) == Spread(ordered[99], ordered[189], ordered[199])
    assert Spread.of([]) == Spread(0, 0, 0)


def rows(*answers):
    return [
        PromptCompletion(prompt="the time is", completion=x, where=f"a:{i + 1}")
        for i, x in enumerate(answers)
    ]


def test_the_report_counts_what_became_of_the_rows(tmp_path):
    """Faults 13 and 15: nothing is dropped or cut in silence; targets are counted."""
    tokenizer = chatml(tmp_path)
    encoder = Encoder(tokenizer)
    records = rows(*[" noon"] * 198, " noon" * 40, "")
    records[5] = PromptCompletion(
        prompt="is the time" * 9, completion=" noon", where="a:6"
    )
    examples, report = encode_all(
        records, encoder, limits=LengthLimits(max_length=20), on_bad_row="drop"
    )
    assert len(examples) == 198
    assert [x.index for x in examples] == [i for i in range(199) if i != 5]
    assert (report.rows, report.too_long, report.clipped) == (200, 1, 1)
    assert len(report.bad_rows) == 1
    assert report.bad_rows[0].startswith("a:200: the row has no token to train on")
    assert report.stop_share == 1.0
    assert report.lengths.over_limit == 2
    assert stop_share(examples, tokenizer.stop_ids) == 197 / 198
    assert trained_tokens(examples).max == max(
        int(x.trained.sum()) for e in examples for x in e.sequences
    )


@pytest.mark.parametrize(("max_dropped", "left"), [(0.3, 7), (0.25, None)])
def test_rows_left_out_by_reader_and_encoder_are_judged_together(
    tmp_path, max_dropped, left
):
    """Two of ten are no rows, and of one no example can be made."""
    file = tmp_path / "rows.jsonl"
    good = {"prompt": "the time is", "completion": " noon"}
    lines = [json.dumps(x) for x in [good] * 7 + [{**good, "weight": 2}]] + ["{", "{}"]
    file.write_text("\n".join(lines))
    source, form = open_rows(str(file), "sft", conversational=False)
    bad_rows: Any = {"on_bad_row": "drop", "max_dropped": max_dropped}
    report = ReadReport()
    records = read_records(source, form, report=report, **bad_rows)
    encoder = Encoder(chatml(tmp_path / "model"))
    if left is None:
        with pytest.raises(UserError, match="3 of 10 rows"):
            encode_all(records, encoder, read=report, **bad_rows)
        return
    examples, _ = encode_all(records, encoder, read=report, **bad_rows)
    assert len(examples) == left == report.records
    assert "10 rows: 7 records, 0 ties left out, 3 bad rows" in str(report)


def test_bad_rows_stop_the_run(tmp_path):
    encoder = Encoder(chatml(tmp_path))
    with pytest.raises(RowError, match="^a:2: the row has no token"):
        encode_all(rows(" noon", ""), encoder)
    with pytest.raises(UserError, match="2 of 3 rows cannot be used.*1.0%.*a:2"):
        encode_all(rows(" noon", "", ""), encoder, on_bad_row="drop")
    some = rows(" noon", "", "")
    assert len(encode_all(some, encoder, on_bad_row="drop", max_dropped=1)[0]) == 1
    with pytest.raises(UserError, match="None of 1 rows is left: 1 are too long"):
        encode_all(rows(" noon"), encoder, limits=LengthLimits(max_length=2))
    limits = LengthLimits(max_length=2, on_long="error")
    with pytest.raises(TooLongError, match="^a:1: its prompt has"):
        encode_all(rows(" noon"), encoder, limits=limits)


@pytest.mark.parametrize("side", ["prompt", "completion"])
def test_a_row_of_a_million_tokens_costs_little(side, tmp_path):
    encoder = Encoder(chatml(tmp_path))
    long = "x y " * 1_000_000
    prompt, completion = (long, " noon") if side == "prompt" else ("the time is", long)
    records = [PromptCompletion(prompt=prompt, completion=completion), *rows(" noon")]
    start = time.monotonic()
    examples, report = encode_all(records, encoder, limits=LengthLimits(max_length=512))
    assert time.monotonic() - start < 2
    assert report.too_long == (side == "prompt")
    assert report.clipped == (side == "completion")
    assert max(len(x.ids) for e in examples for x in e.sequences) <= 512


def test_segments_show_what_is_trained(tmp_path):
    tokenizer = chatml(tmp_path)
    talk = (Message("user", "Hi"), Message("assistant", "Hello!"))
    (x,) = Encoder(tokenizer)(Conversation(messages=talk)).sequences
    assert segments(tokenizer, x) == [
        ("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", False),
        ("Hello!<|im_end|>", True),
        ("\n", False),
    ]
