"""E5: what is committed holds what it claims, and its numbers mean what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e05_abstention.arms import LAW, RL, THRESHOLDS, Trained
from experiments.e05_abstention.facts import ANSWERS, IDK, Facts, graded, known_or_not
from experiments.e05_abstention.run import EXPERIMENT, of_confidence, outcomes
from experiments.runner import read_rows
from jaxalign.rewards import abstention_threshold, wrong_reward
from tests.experiments.quick import assert_twice_the_same

RESULTS = EXPERIMENT.folder / "results.csv"


def test_every_arm_has_three_seeds():
    rows = read_rows(RESULTS)
    for arm in [*RL, "base", "sft", "sft_labeller_idk", "r_tuning", "rl_unseeded"]:
        assert [x["key"] for x in rows if x["arm"] == arm] == [0, 1, 2]
    for arm in LAW:
        found = [x["threshold"] for x in rows if x["arm"] == arm]
        assert found == [t for t in THRESHOLDS for _ in range(3)]


def test_the_rewards_of_the_law_have_the_thresholds_they_say():
    for t in THRESHOLDS:
        assert abstention_threshold(wrong=wrong_reward(t)) == pytest.approx(t)


def test_facts_are_told_and_true_as_often_as_they_say():
    facts = jax.jit(jax.vmap(graded))(jax.random.split(jax.random.key(1), 5))
    share = np.asarray(facts.share)
    true = np.asarray(facts.truth == facts.told)
    for low in np.arange(0, 1, 0.2):
        tenth = (share >= low) & (share < low + 0.2)
        assert abs(true[tenth].mean() - share[tenth].mean()) < 0.04
    plain = jax.jit(known_or_not)(jax.random.key(0))
    assert set(np.unique(plain.share).round(2)) == {0.0, np.float32(0.95)}
    assert (plain.truth == plain.told).all()


def made_up() -> Trained:
    """Four facts: the odd ones, 1 known and 3 unknown, are held out."""
    facts = Facts(*map(jnp.array, ([0, 1, 2, 3], [0, 1, 2, 3], [0.9, 0.9, 0.0, 0.0])))
    base = np.full((4, ANSWERS + 1), 0.0)
    base[range(4), range(4)] = [0.9, 0.8, 0.1, 0.3]
    after = np.zeros((4, ANSWERS + 1))
    after[1, [1, 5, IDK]] = 0.7, 0.1, 0.2
    after[3, [3, 7, IDK]] = 0.05, 0.15, 0.8
    after[2, 2] = 0.4
    return Trained(facts, base, after)


def test_outcomes_are_of_held_out_facts():
    found = outcomes(made_up())
    expected = {
        "unknown_right_in_training": 0.4,
        "known_right": 0.7,
        "known_abstains": 0.2,
        "known_wrong": 0.1,
        "unknown_right": 0.05,
        "unknown_abstains": 0.8,
        "unknown_wrong": 0.15,
    }
    assert found == pytest.approx(expected)


def test_the_crossing_lies_between_who_abstains_and_who_answers():
    found = of_confidence(made_up(), threshold=0.5)
    assert found["crossing"] == pytest.approx((0.3 + 0.8) / 2)
    assert found["crossing_error"] == pytest.approx(0.05)
    assert found["answer_rate"] == pytest.approx((0.8 + 0.2) / 2)
    assert found["answers_by_tenth"] == "0.200 0.800"


@pytest.mark.slow
def test_quick_run(tmp_path):
    assert len(assert_twice_the_same(EXPERIMENT, tmp_path)) == 8
