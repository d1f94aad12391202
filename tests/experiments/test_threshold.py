"""E12: what is committed holds what it claims, and exact policies obey the law."""

import numpy as np
import pytest

from experiments.e12_threshold.run import THRESHOLDS, crossing
from experiments.e12_threshold.world import (
    World,
    answers_or_abstains,
    states_confidence,
)


@pytest.mark.parametrize("t", THRESHOLDS)
def test_answering_pays_above_the_threshold(t):
    """p - (1 - p) t / (1 - t) is positive where p > t."""
    world = World.make()
    values = answers_or_abstains(t).expected(world)
    p = world.right.max(axis=1)
    np.testing.assert_allclose(
        values[:, :3].max(axis=1), p - (1 - p) * t / (1 - t), atol=1e-12
    )
    assert ((values.argmax(axis=1) < 3) == (p > t)).all()


def test_a_stated_confidence_pays_as_the_formula_says():
    world, actions = World.make(), states_confidence("brier", 101)
    d = world.right[7, 1]
    q = actions.confidence[101 + 30]
    value = d * (1 - (q - 1) ** 2) - (1 - d) * q**2
    np.testing.assert_allclose(actions.expected(world)[7, 101 + 30], value, atol=1e-12)


def test_the_crossing_is_the_cut_that_fewest_defy():
    p = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    assert crossing(p, np.array([0.0, 0.1, 0.9, 1.0, 1.0])) == pytest.approx(0.4)
    assert crossing(p, np.array([0.0, 0.0, 0.0, 0.0, 0.0])) == 1.0
