"""The world against loops over its definition, and against numbers measured once.

The reference values come from a prototype written apart from this code.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.enumlm import (
    best_of_n_logps,
    count_preferences,
    evaluate,
    expected,
    frontier_reward,
    kl_divergence,
    list_responses,
    logits_of,
    make_world,
    optimum,
    population_preferences,
    response_logps,
    sample,
    state_logps,
)
from experiments.enumlm.exact import largest_kl, optimal_value


@pytest.mark.parametrize(
    ("symbols", "length", "responses", "prefixes"),
    [(2, 5, 63, 31), (3, 5, 364, 121), (3, 6, 1093, 364)],
)
def test_every_response_is_listed_once(symbols, length, responses, prefixes):
    listed = list_responses(symbols, length)
    assert listed.num_responses == responses
    assert listed.num_prefixes == prefixes
    strings = [
        tuple(tokens[mask].tolist())
        for tokens, mask in zip(listed.token, listed.mask, strict=True)
    ]
    expected_strings = [
        (*string, symbols) if k < length else string
        for k in range(length + 1)
        for string in itertools.product(range(symbols), repeat=k)
    ]
    assert strings == expected_strings


def test_prefixes_are_numbered_by_what_was_said_before():
    listed = list_responses(3, 4)
    number = {
        string: i
        for i, string in enumerate(
            string for k in range(4) for string in itertools.product(range(3), repeat=k)
        )
    }
    for row in range(listed.num_responses):
        said = tuple(listed.token[row, : listed.lengths[row]].tolist())
        for t in range(len(said)):
            assert listed.prefix[row, t] == number[said[:t]]


def test_response_logps_against_loops(small):
    logps = response_logps(jnp.asarray(small.ref_logits), small.responses)
    for x, table in enumerate(small.ref_logits):
        for s, mask in enumerate(small.responses.mask):
            total = 0.0
            for t in range(mask.sum()):
                row = table[small.responses.prefix[s, t]]
                chosen = row[small.responses.token[s, t]]
                total += chosen - math.log(sum(math.exp(z) for z in row))
            assert logps[x, s] == pytest.approx(total, abs=1e-13)


def test_rewards_are_standardised_under_the_reference(world):
    ref = np.exp(world.ref_logps)
    np.testing.assert_allclose(ref.sum(-1), 1, atol=1e-12)
    np.testing.assert_allclose((ref * world.rewards).sum(-1), 0, atol=1e-12)
    np.testing.assert_allclose((ref * world.rewards**2).sum(-1), 1, atol=1e-12)


def test_without_noise_the_reward_is_linear_in_the_features():
    world = make_world(3, max_length=4, num_prompts=2, noise=0.0)
    design = np.column_stack([world.features, np.ones(len(world.features))])
    for rewards in world.rewards:
        fit = design @ np.linalg.lstsq(design, rewards, rcond=None)[0]
        np.testing.assert_allclose(fit, rewards, atol=1e-10)


@pytest.mark.parametrize(
    ("beta", "reward", "kl", "value"),
    [
        (0.25, 2.3961, 3.0011, 1.645857),
        (0.5, 1.9417, 1.7770, 1.053197),
        (1.0, 1.0977, 0.5633, 0.534410),
        (2.0, 0.5254, 0.1339, 0.257549),
    ],
)
def test_reference_values(world, beta, reward, kl, value):
    logps = optimum(world, beta)
    assert expected(logps, world.rewards) == pytest.approx(reward, abs=6e-5)
    assert kl_divergence(logps, world.ref_logps) == pytest.approx(kl, abs=6e-5)
    assert optimal_value(world, beta) == pytest.approx(value, abs=6e-7)


def test_reference_values_of_the_greediest_policy(world):
    nearly = optimum(world, 0.02)
    assert kl_divergence(nearly, world.ref_logps) == pytest.approx(5.29, abs=6e-3)
    assert world.rewards.max(-1).mean() == pytest.approx(2.6329, abs=6e-5)
    assert largest_kl(world) >= kl_divergence(nearly, world.ref_logps)


def test_the_table_holds_any_distribution(small):
    logps = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 15)) * 3)
    logits = logits_of(logps, small.responses)
    back = response_logps(jnp.asarray(logits), small.responses)
    np.testing.assert_allclose(back, logps, atol=1e-13)


def test_mass_of_a_state_is_that_of_the_responses_through_it(small):
    logps = jnp.asarray(small.ref_logps)
    mass = np.zeros((3, small.responses.num_prefixes))
    for s, mask in enumerate(small.responses.mask):
        for state in small.responses.prefix[s, mask]:
            mass[:, state] += np.exp(logps[:, s])
    np.testing.assert_allclose(
        np.exp(state_logps(logps, small.responses)), mass, atol=1e-13
    )


def test_evaluation_of_optimum_reference_and_what_lies_between(world):
    best = evaluate(world, optimum(world, 0.5), 0.5)
    assert best.efficiency == pytest.approx(1, abs=1e-9)
    assert best.rho == pytest.approx(0, abs=1e-12)
    ref = evaluate(world, jnp.asarray(world.ref_logps), 0.5)
    assert (ref.kl, ref.rho) == (0, pytest.approx(1))

    timid = evaluate(world, optimum(world, 1.0), 0.5)
    assert timid.efficiency == pytest.approx(1, abs=1e-9)
    gain = timid.reward - 0.5 * timid.kl
    np.testing.assert_allclose(timid.rho, 1 - gain / 1.053197, atol=1e-5)


def test_frontier_is_flat_where_no_policy_goes_further(world):
    end = largest_kl(world)
    top = world.rewards.max(-1).mean()
    assert frontier_reward(world, jnp.array(end + 1)) == pytest.approx(top)
    assert frontier_reward(world, jnp.array(end * 0.9)) < top


@pytest.mark.parametrize("n", [1, 2, 3])
def test_best_of_n_law_against_all_draws(n):
    logps = np.log([0.1, 0.4, 0.3, 0.2])
    scores = np.array([2.0, -1.0, 2.0, 0.5])  # a tie
    law = np.zeros(4)
    for draws in itertools.product(range(4), repeat=n):
        # Of tied winners the earliest draw is kept.
        winner = max(draws, key=lambda y: scores[y])
        law[winner] += np.exp(logps[list(draws)].sum())
    found = best_of_n_logps(jnp.asarray(logps), scores, n)
    np.testing.assert_allclose(np.exp(found), law, atol=1e-14)


def test_samples_follow_the_policy(small):
    logps = jnp.asarray(small.ref_logps)
    drawn = np.asarray(sample(jax.random.key(0), logps, 40_000))
    for x in range(3):
        share = np.bincount(drawn[x], minlength=15) / 40_000
        np.testing.assert_allclose(share, np.exp(logps[x]), atol=0.01)


@pytest.mark.parametrize("flip", [0.0, 0.2])
def test_preference_counts_approach_the_population(small, flip):
    population = population_preferences(small, scale=2.0, flip=flip)
    np.testing.assert_allclose(population.sum((1, 2)), 1, atol=1e-12)
    chance = population / (population + population.swapaxes(1, 2))
    gap = small.rewards[:, :, None] - small.rewards[:, None, :]
    clean = np.exp(2 * gap) / (1 + np.exp(2 * gap))
    np.testing.assert_allclose(chance, clean * (1 - 2 * flip) + flip, atol=1e-12)

    counts = count_preferences(small, 100_000, 0, scale=2.0, flip=flip)
    np.testing.assert_allclose(counts.sum((1, 2)), 1, atol=1e-9)
    np.testing.assert_allclose(counts, population, atol=0.006)
