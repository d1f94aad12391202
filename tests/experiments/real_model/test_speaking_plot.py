"""Shares of right and wrong answers as less and less confidence is asked for."""

import json

import numpy as np
import pytest

from experiments.real_model import speaking_plot
from experiments.real_model.arms import Table
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


def test_seeds_are_pooled(tmp_path):
    halves = {"0": LINES[:3], "1": LINES[3:]}
    table = {
        seed: {"brier": {"asked": len(lines), "stated": stated(lines)}}
        for seed, lines in halves.items()
    }
    (tmp_path / "stated.json").write_text(json.dumps(table))
    (rows, asked) = speaking_plot._pooled(tmp_path / "stated.json")["brier"]
    assert asked == len(LINES)
    assert rows == stated(LINES)


def test_the_plot_needs_one_of_its_tables(tmp_path):
    folders = [tmp_path / name for name in ("stated", "points", "both")]
    table = {"0": {"brier": {"asked": len(LINES), "stated": stated(LINES)}}}
    shares = {
        name: {"value": value, "low": 0.0, "high": 1.0}
        for name, value in {"correct": 0.25, "wrong": 0.75}.items()
    }
    for folder in folders:
        folder.mkdir()
        if folder.name != "points":
            (folder / "stated.json").write_text(json.dumps(table))
        if folder.name != "stated":
            Table(folder / "frontier.csv").add("rl", 1, 0, **shares)
        draw_speaking(folder)
    plots = [(folder / "speaking.png").read_bytes() for folder in folders]
    assert len({*plots}) == 3
