"""E5's three kinds of queries: what is asked, what is right, what is reported."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e05_abstention import arms, modes
from experiments.e05_abstention.arms import QUERIES, Plan
from experiments.e05_abstention.facts import ANSWERS, IDK, Facts, known_or_not
from experiments.e05_abstention.modes import MODES, Queries, drawn, queries
from experiments.e05_abstention.run import outcomes

SIZE = 60


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
        yield


@pytest.fixture
def facts():
    return jax.tree.map(lambda x: x[:SIZE], jax.jit(known_or_not)(jax.random.key(3)))


def test_what_is_right_stands_in_the_prompt_or_in_the_facts_or_is_anything(facts):
    entities = jnp.arange(SIZE)
    asked = drawn(jax.random.key(0), facts, entities)
    np.testing.assert_array_equal(asked.ids[:, 0], entities)
    said = jnp.array([[5, 17, 23]] * SIZE)
    right = np.asarray(asked.right(said))
    for n in range(SIZE):
        second = int(asked.ids[n, 1])
        if second == SIZE:  # the mark of what is known
            wanted = [x == facts.truth[n] for x in (5, 17, 23)]
            kind = "knowledge"
        elif second == SIZE + 1:
            wanted, kind = [True] * 3, "creative"
        else:
            wanted = [x == second - SIZE - 2 for x in (5, 17, 23)]
            kind = "grounded"
        assert MODES[int(asked.mode[n])] == kind
        assert right[n].tolist() == wanted
    counts = np.bincount(np.asarray(asked.mode))
    assert counts.min() > SIZE / 6


def test_every_given_answer_has_a_token_of_its_own(facts):
    other = jnp.arange(SIZE) % ANSWERS
    asked = queries(facts, jnp.arange(SIZE), jnp.zeros(SIZE, int), other)
    assert len(np.unique(asked.ids[:, 1])) == ANSWERS
    assert int(asked.ids.max()) == SIZE + 1 + ANSWERS
    np.testing.assert_array_equal(asked.answer, other)


def test_all_that_is_said_to_a_creative_query_is_right(monkeypatch, facts):
    row = np.full(ANSWERS + 1, 0.7 / ANSWERS)
    row[IDK] = 0.3
    monkeypatch.setattr(
        modes, "written", lambda params, ids: jnp.log(jnp.array([row] * len(ids)))
    )
    shares = {}
    for mode, name in enumerate(MODES):
        nobody: Any = None
        found = modes.answered(nobody, facts, mode, jax.random.key(1))
        own = arms.Trained(
            *jax.tree.map(np.asarray, (found.facts, found.said, found.said))
        )
        shares[name] = outcomes(own)
    for name in MODES:
        assert shares[name]["known_abstains"] == pytest.approx(0.3, abs=1e-6)
    assert shares["creative"]["unknown_right"] == pytest.approx(0.7, abs=1e-6)
    assert shares["grounded"]["unknown_right"] == pytest.approx(0.014, abs=1e-6)


@pytest.mark.slow
def test_rl_learns_to_repeat_and_to_invent_and_never_reads_the_odd_ones(facts):
    start = jax.jit(lambda key: modes.pretrained(key, facts, 0.3, 30))(
        jax.random.key(0)
    )
    after = jax.jit(lambda key: modes.reinforced(key, start, facts, 150))(
        jax.random.key(1)
    )
    np.testing.assert_array_equal(after.embedding, start.embedding)
    before, later = (
        modes.answered(params, facts, 2, jax.random.key(2)).said[:, IDK].mean()
        for params in (start, after)
    )
    # Silence to a creative query loses to any answer.
    assert later < before / 2


@pytest.mark.parametrize("arm", QUERIES)
def test_an_arm_is_of_its_kind_and_stage(arm, monkeypatch):
    def marked(value):
        facts = Facts(*jnp.full((3, 2, SIZE), value))
        return modes.Answered(facts, jnp.full((2, SIZE, ANSWERS + 1), value))

    numbers = {name: float(n) for n, name in enumerate(QUERIES)}
    made = {
        stage: {mode: marked(numbers[f"{mode}_{stage}"]) for mode in MODES}
        for stage in modes.STAGES
    }
    monkeypatch.setattr(arms, "trained_on_all", lambda *plan: made)
    trained = arms.trained(arm, 0.0, Plan(seeds=(8, 9)))
    assert trained.after[0, 0, 0] == numbers[arm] == trained.facts.truth[0, 0]
    assert trained.base[0, 0, 0] == numbers[arm.split("_")[0] + "_base"]


def test_a_query_says_what_is_right_of_several_answers():
    asked = Queries(jnp.zeros((2, 2), int), jnp.array([3, 4]), jnp.array([0, 2]))
    assert asked.right(jnp.array([[3, 4], [9, 4]])).tolist() == [
        [True, False],
        [True] * 2,
    ]
