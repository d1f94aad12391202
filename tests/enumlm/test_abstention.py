"""When "I don't know" is the best answer, from the exact optimum of R − β KL."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.rewards import abstention_reward, abstention_threshold

REWARDS = [(1.0, 0.0, -1.0), (1.0, 0.5, -1.0), (2.0, 0.0, -6.0), (1.0, -0.5, -1.0)]


def gain(confidence, correct, abstain, wrong):
    """Expected rewards of answering and of abstaining."""
    rewards = {"correct": correct, "abstain": abstain, "wrong": wrong}
    right = abstention_reward("correct", **rewards)
    not_known = abstention_reward("abstain", **rewards)
    false = abstention_reward("wrong", **rewards)
    return confidence * right + (1 - confidence) * false, not_known


@pytest.mark.parametrize("rewards", REWARDS)
def test_the_best_choice_changes_at_the_threshold(rewards):
    correct, abstain, wrong = rewards
    t = abstention_threshold(correct=correct, abstain=abstain, wrong=wrong)
    assert 0 < t < 1
    for confidence in np.linspace(0, 1, 41):
        if abs(confidence - t) > 1e-9:
            answering, abstaining = gain(confidence, *rewards)
            assert (answering > abstaining) == (confidence > t)


@pytest.mark.parametrize(
    ("rewards", "a", "b"), list(itertools.product(REWARDS, [0.1, 3.0], [-2.0, 5.0]))
)
def test_scale_and_origin_of_the_rewards_do_not_matter(rewards, a, b):
    names = ("correct", "abstain", "wrong")
    t = abstention_threshold(**dict(zip(names, rewards, strict=True)))
    moved = {name: a * r + b for name, r in zip(names, rewards, strict=True)}
    assert abstention_threshold(**moved) == pytest.approx(t)


def test_where_abstaining_costs_as_much_as_an_error_any_guess_pays():
    with pytest.warns(UserWarning, match="never worth while"):
        assert abstention_threshold(correct=1, abstain=-1, wrong=-1) == 0


@pytest.mark.parametrize("rewards", REWARDS)
@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_with_a_kl_term_the_odds_of_answering_follow_the_confidence(rewards, beta):
    """The optimum over whole responses: a right answer, a wrong one, or none."""
    correct, abstain, wrong = rewards
    t = abstention_threshold(correct=correct, abstain=abstain, wrong=wrong)
    ref_answering = 0.8
    for confidence in (0.1, 0.5, 0.9):
        ref = jnp.array([ref_answering, 1 - ref_answering])
        gains = jnp.array(gain(confidence, *rewards))
        best = jax.nn.log_softmax(jnp.log(ref) + gains / beta)
        ref_odds = np.log(ref_answering / (1 - ref_answering))
        wanted = ref_odds + (correct - wrong) * (confidence - t) / beta
        np.testing.assert_allclose(best[0] - best[1], wanted, rtol=1e-12)
