"""Differences of rewards, whatever the rewards are, against exact fractions."""

import fractions
import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import rl
from jaxalign.errors import UserError
from jaxalign.recipes import grpo, online
from jaxalign.rewards import Completion, Reward, Scores, informative_groups, score
from jaxalign.rl import (
    centered_credit,
    compute_advantages,
    gae_credit,
    group_credit,
    plain_credit,
    remax_credit,
    rloo_credit,
    whitened_to_go_credit,
)
from jaxalign.rl.centring import centred, lost_difference, refuse_too_large
from jaxalign.rl.round_metrics import sampled_metrics
from tests.rl.test_faults import CONTROL, algorithm_with, arrays_of

GROUPS = [
    [1e9, 1e9 + 1, 1e9 + 2, 1e9],
    [-1e20, 1.0, 1.0, 1.0],
    [0.1, 0.1, 0.1, 0.1],
    [1e-9, 2e-9, 0.0, 0.0],
    [-3.0, 5.0, 0.25, 0.25],
]
EVERYWHERE = np.ones((1, 4), bool)


def exactly(rewards, normalize):
    """The definition, in fractions; (R - mean) / (std + 1e-4) with n - 1."""
    given = [fractions.Fraction(x) for x in rewards]
    mean = sum(given) / len(given)
    off = [x - mean for x in given]
    if not normalize:
        return [float(x) for x in off]
    variance = float(sum(x * x for x in off) / (len(off) - 1))
    return [float(x) / (variance**0.5 + 1e-4) for x in off]


def advantages(totals, assign, around: Any = "group", greedy=None):
    """As a run has them: centred on the host, the rest in float32."""
    rewards, centre = centred(np.array([totals]), EVERYWHERE, around, greedy)
    if greedy is not None:
        greedy = jnp.asarray(greedy - centre, jnp.float32)
    inputs = arrays_of([2, 2, 2, 2], rewards[0], greedy=greedy)
    algorithm = algorithm_with(assign, kl_in_reward=False)
    given = inputs._replace(centre=jnp.asarray(centre, jnp.float32))
    columns, _, metrics = compute_advantages(algorithm, given, CONTROL)
    return np.asarray(columns["advantages"])[0, :, 0], metrics


@pytest.mark.parametrize("totals", GROUPS)
def test_advantages_of_groups_are_those_of_exact_arithmetic(totals):
    got, metrics = advantages(totals, group_credit)
    np.testing.assert_allclose(got, exactly(totals, True), rtol=1e-5, atol=1e-12)
    got, _ = advantages(totals, centered_credit)
    np.testing.assert_allclose(got, exactly(totals, False), rtol=1e-5)
    got, _ = advantages(totals, rloo_credit)
    expected = np.array(exactly(totals, False)) * 4 / 3
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    # Nothing is missing in what is logged.
    for name in ("objective/scores", "objective/rlhf_reward"):
        np.testing.assert_allclose(metrics[name].value, np.mean(totals), rtol=1e-6)


def test_a_veto_leaves_the_others_alike_and_well():
    got, _ = advantages([-1e20, 1.0, 1.0, 1.0], group_credit)
    np.testing.assert_allclose(got, [-1.5, 0.5, 0.5, 0.5], rtol=1e-6)


def test_baselines_of_other_kinds_are_taken_off_in_float64_too():
    totals = [1e9, 1e9 + 1, 1e9 + 2, 1e9 + 5]
    greedy = np.array([1e9 + 1])
    got, _ = advantages(totals, remax_credit, "greedy", greedy)
    np.testing.assert_allclose(got, [-1, 0, 1, 4], rtol=1e-6)
    got, _ = advantages(totals, whitened_to_go_credit, "batch")
    expected = (np.array(totals) - np.mean(totals)) / np.std(totals)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    got, _ = advantages([1.0, 2.0, 3.0, 4.0], plain_credit, None)
    np.testing.assert_allclose(got, [1, 2, 3, 4])


def test_equal_but_for_the_rounding_of_sums_is_equal():
    totals = np.array([[0.1 + 0.2, 0.3], [1e9 * (0.1 + 0.2), 3e8], [1e9, 1e9 + 1]])
    got = centred(totals, np.ones((3, 2), bool)).rewards
    np.testing.assert_array_equal(got, [[0, 0], [0, 0], [-0.5, 0.5]])


def test_what_does_not_apply_is_no_part_of_a_mean():
    totals = np.array([[1.0, np.nan, 4.0], [np.nan, np.nan, np.nan], [7.0, 1.0, 0.0]])
    applies = np.array([[True, False, True], [False] * 3, [True, False, False]])
    rewards, centre = centred(totals, applies)
    np.testing.assert_array_equal(rewards, [[-1.5, 0, 1.5], [0] * 3, [0] * 3])
    np.testing.assert_array_equal(centre, [2.5, 0, 7])


def test_every_method_has_the_centre_that_it_may_have():
    around = {name: make().around for name, make in grpo.GROUP_ALGORITHMS.items()}
    grouped = [name for name, x in around.items() if x == "group"]
    assert around["reinforce"] is around["reinforce_baseline"] is None
    assert (around["remax"], around["reinforce_pp"]) == ("greedy", "batch")
    assert len(grouped) == len(around) - 4
    assert {make().around for make in online.ONLINE_ALGORITHMS.values()} == {"group"}
    # A critic learns the rewards themselves.
    assert rl.ppo().around is None


def test_groups_that_differ_in_the_tenth_digit_are_worth_learning_from():
    totals = np.array([[1e9, 1e9 + 1], [1e9, 1e9], [0.1 + 0.2, 0.3]])
    there = np.ones((3, 2), bool)
    got = informative_groups(
        jnp.asarray(centred(totals, there).rewards), jnp.asarray(there)
    )
    assert got.tolist() == [True, False, False]


def rounds(totals):
    shape = np.shape(totals)
    texts = [Completion("?", "!", index=i) for i in range(shape[0]) for _ in range(2)]
    values = np.ravel(totals).tolist()
    scores = score([Reward("mine", lambda completions: values)], texts)
    return [types.SimpleNamespace(groups=shape, scores=scores)]


def test_metrics_of_large_rewards():
    given: Any = rounds([[1e9, 1e9 + 1], [-1e20, 1.0], [2.0, 2.0]])
    got = {k: float(x.value) for k, x in sampled_metrics(given).items()}
    np.testing.assert_allclose(got["reward"], (2e9 - 1e20 + 6) / 6, rtol=1e-6)
    std = (np.std([0, 1], ddof=1) + np.std([-1e20, 1], ddof=1)) / 3
    np.testing.assert_allclose(got["reward_std"], std, rtol=1e-6)
    np.testing.assert_allclose(got["frac_reward_zero_std"], 1 / 3, rtol=1e-6)
    given = rounds([[1e9, 1e9 + 1], [5.0, 5.0]])
    np.testing.assert_allclose(
        sampled_metrics(given)["reward_std"].value, 0.5**0.5 / 2, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("totals", "lost"),
    [
        ([-1e20, 1.0, 2.0, 2.0], (1.0, 2.0)),
        ([0.0, 1e9, 1e9 + 1, 1e9 + 2], None),  # a billionth of the spread
        ([1e9, 1e9 + 1, 1e9 + 2, 1e9 + 2], None),
        ([0.1 + 0.2, 0.3, 1.0, 0.0], None),
        ([-1e20, 1.0, 1.0, 1.0], None),
        ([1e-30, 2e-30, 1.0, 1.0], None),
    ],
)
def test_two_rewards_that_become_one_number_are_found(totals, lost):
    given = np.array([totals])
    on_device = centred(given, EVERYWHERE).rewards.astype(np.float32)
    got = lost_difference(given, EVERYWHERE, on_device)
    assert got == lost


@pytest.mark.parametrize(
    ("totals", "lost"),
    [
        ([1e9, 1e9 + 1, 1e9 + 2, 1e9 + 2], (1e9, 1e9 + 1)),
        ([0.1 + 0.2, 0.3, 0.3, 0.3], None),
        ([1e9, 1e9 + 128, 1e9 + 256, 0], None),
        ([0.9, -0.1, 0.0, 1.0], None),
    ],
)
def test_rewards_that_are_taken_as_they_are_lose_their_digits(totals, lost):
    given = np.array([totals])
    assert lost_difference(given, EVERYWHERE, given.astype(np.float32)) == lost


@pytest.mark.parametrize("value", [1e19, -1e300, float("inf")])
def test_rewards_whose_square_is_infinite_are_an_error(value):
    texts = [Completion("?", "!", index=3), Completion("?", "?", index=4)]
    values = {"mine": np.array([1.0, value])}
    there = np.ones(2, bool)
    scores = Scores(values, np.array([1.0, value]), there, {}, {})
    with pytest.raises(UserError, match=r"completion 1 of 2 .*`mine` gave .*row 4"):
        refuse_too_large(scores, texts, 1e18)
    refuse_too_large(scores, texts, np.inf)


def test_a_whitened_batch_would_not_have_shown_it():
    """Why it is an error: the variance overflows, and all advantages are 0."""
    got, _ = advantages([-1e20, 1.0, 1.0, 1.0], gae_credit(), None)
    assert not got.any()
