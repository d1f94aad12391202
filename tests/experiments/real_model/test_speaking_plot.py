"""Shares of right and wrong answers as less and less confidence is asked for."""

import json

import numpy as np
import pytest

from experiments.real_model.speaking_plot import draw_speaking, speaking, stated

LINES = [
    {"outcome": "correct", "confidence": 0.9},
    {"outcome": "wrong", "confidence": 0.5},
    {"outcome": "correct", "confidence": 0.5},
    {"outcome": "wrong", "confidence": None},
    {"outcome": "correct", "confidence": 0.9},
    {"outcome": "abstain", "confidence": 0.1},
    {"outcome": "wrong", "confidence": 0.1},
    {"outcome": "correct", "confidence": 0.0},
]


@pytest.mark.parametrize("least", [0.95, 0.9, 0.6, 0.5, 0.1, 0.0])
def test_a_point_of_the_curve_is_what_is_said_from_a_confidence_on(least):
    points = speaking(stated(LINES), len(LINES)).tolist()
    said = [x for x in LINES if x["confidence"] is not None]
    said = [x["outcome"] for x in said if x["confidence"] >= least]
    assert [said.count("wrong") / 8, said.count("correct") / 8] in points


def test_the_curve_begins_in_silence_and_leaves_out_what_states_nothing():
    points = speaking(stated(LINES), len(LINES))
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [2 / 8, 4 / 8]
    assert (np.diff(points, axis=0) >= 0).all()


def test_the_plot_needs_no_frontier(tmp_path):
    table = tmp_path / "stated.json"
    rows = {"brier": {"asked": len(LINES), "stated": stated(LINES)}}
    table.write_text(json.dumps(rows))
    draw_speaking(table, tmp_path / "none.json", tmp_path / "a.png")
    points = tmp_path / "frontier.json"
    arms = {"sft": {"known": {"correct": 1}, "unknown": {"wrong": 3}}}
    points.write_text(json.dumps(arms))
    draw_speaking(table, points, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
