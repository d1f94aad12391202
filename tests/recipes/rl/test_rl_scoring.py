"""The settings that say what a missing end costs reach the scores."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jaxalign.recipes import ppo
from jaxalign.recipes.rl.prompts import refill_from, refills
from jaxalign.recipes.rl.scoring import make_scoring
from jaxalign.rewards import Completion
from jaxalign.rl import Prompt
from tests.rl.test_faults import sample


@pytest.mark.parametrize("name", ["missing_eos_penalty", "missing_eos_score"])
def test_no_stop_token_of_the_set_is_punished_as_a_missing_end(name):
    """Fault 4: the tokenizer's EOS is looked for, whatever had ended the answer."""
    paths: Any = {"model": "m", "data": "d", "output_dir": "o", "reward": ("stopped",)}
    config = ppo.Config(**paths | {name: 0.25})
    tokenizer: Any = SimpleNamespace(stop_ids=(3, 11))
    rollout = sample(0, score=make_scoring(config, tokenizer))
    last = np.array([ids[-1] for ids in rollout.completions.ids()])
    cut = 0.25 if name == "missing_eos_score" else -0.25
    expected = np.where(np.isin(last, [3, 11]), 1.0, cut)
    np.testing.assert_allclose(rollout.scores.total, expected)
    assert {3, 11} < set(last.tolist())


@pytest.mark.parametrize("name", ["missing_eos_penalty", "missing_eos_score"])
def test_a_missing_end_makes_no_score_where_no_reward_applies(name, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def rare(xs):\n    return [2.0, None] * (len(xs) // 2)\n")
    given: Any = {"model": "m", "data": "d", "output_dir": "o", name: 0.5}
    config = ppo.Config(**given, reward=(f"{file}:rare",))
    tokenizer: Any = SimpleNamespace(stop_ids=(3, 11))
    rollout = [Completion("?", "!", stopped=b < 2) for b in range(4)]
    scores = make_scoring(config, tokenizer)(rollout)
    cut = 0.5 if name == "missing_eos_score" else 1.5
    np.testing.assert_array_equal(scores.total, [2, np.nan, cut, np.nan])
    assert scores.applies.tolist() == [True, False, True, False]


def test_refills_take_prompts_that_are_not_in_the_iteration_yet():
    orders = [refills(i, [1, 3], size=6, seed=0) for i in range(8)]
    for order in orders:
        assert sorted(order[:4]) == [0, 2, 4, 5]
        assert sorted(order[4:]) == [1, 3]
    assert len(set(map(tuple, orders))) > 4


def test_refills_are_prompts_of_the_run_whatever_their_rows_are_numbered():
    train = [Prompt([1], index=i) for i in (7, 2, 9, 4)]
    order = refill_from(train, 0)(3, [train[2], train[0]])
    assert {x.index for x in order[:2]} == {2, 4}
    assert {x.index for x in order[2:]} == {7, 9}
