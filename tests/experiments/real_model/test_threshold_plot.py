"""Means and intervals of outcomes under a threshold, from formulas of the counts."""

import math

import pytest

from experiments.real_model.threshold_plot import measures


def test_intervals_are_those_of_the_counts():
    row = {"threshold": 0.75, "asked": 40, "correct": 12, "wrong": 4, "abstain": 24}
    found = measures(row)
    answered, right = 16 / 40, 12 / 16
    reward, square = (12 - 3 * 4) / 40, (12 + 9 * 4) / 40
    wanted = {
        "answered": (answered, 1.96 * math.sqrt(answered * (1 - answered) / 40)),
        "right": (right, 1.96 * math.sqrt(right * (1 - right) / 16)),
        "reward": (reward, 1.96 * math.sqrt((square - reward**2) / 40)),
    }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value), name


def test_nothing_answered_has_no_accuracy():
    found = measures({"threshold": 0.5, "asked": 7, "abstain": 7})
    assert found["answered"] == (0, 0)
    assert all(map(math.isnan, found["right"]))
