"""What a table of thresholds holds, from formulas of the counts."""

import math

import pytest

from experiments.real_model.threshold import AGREEING, agreed, measures


def test_means_and_intervals_are_those_of_the_counts():
    outcomes = ["correct"] * 120 + ["wrong"] * 40 + ["abstain"] * 240
    found = measures(outcomes, 0.75, seed=0)
    reward, square = (120 - 3 * 40) / 400, (120 + 9 * 40) / 400
    wanted = {
        "answered": (160 / 400, 160 / 400 * 240 / 400, 400),
        "right": (120 / 160, 120 / 160 * 40 / 160, 160),
        "reward": (reward, square - reward**2, 400),
    }
    assert set(found) == set(wanted)
    for name, (mean, variance, rows) in wanted.items():
        m, width = found[name], 1.96 * math.sqrt(variance / rows)
        assert m["value"] == pytest.approx(mean, abs=1e-6), name
        # A bootstrap of a thousand draws and the normal law differ by a tenth or less.
        assert m["low"] == pytest.approx(mean - width, abs=width / 5), name
        assert m["high"] == pytest.approx(mean + width, abs=width / 5), name


def test_nothing_answered_has_no_accuracy():
    found = measures(["abstain"] * 7, 0.5, seed=0)
    assert set(found) == {"answered", "reward"}
    assert found["answered"]["value"] == 0


def test_the_agreement_is_how_many_samples_say_the_same():
    texts = ["Rome.", "rome", "Oslo", "Rome"] + ["Bonn"] * (AGREEING - 4)
    lines = [
        {"completion": x, "outcome": "wrong" if x == "Bonn" else "correct"}
        for x in texts
    ]
    assert agreed(lines) == [("wrong", (AGREEING - 4) / AGREEING)]
    assert agreed(lines[:4] * 2 + lines[-2:]) == [("correct", 6 / AGREEING)]
