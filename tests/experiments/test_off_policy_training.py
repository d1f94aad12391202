"""E13: who sampled, what a token weighs, and which run a row is of."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.e13_off_policy import run as e13
from experiments.e13_off_policy.train import Plan, loss_of, train
from experiments.enumlm import make_world

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def world():
    return make_world(1, max_length=2, num_prompts=2)


def runs_of(world, lags, grids, num_steps, offset=0.0):
    """One program: as many runs as there are lags, and nothing else differs."""
    over = jax.vmap(train, (None, None, 0, 0, None, None, None, None))
    numbers = jnp.float64(0.5), jnp.float64(offset), jax.random.key(0)
    plan = Plan(num_steps, num_groups=2, learning_rate=0.5)
    return over(world, "none", jnp.array(lags), jnp.array(grids), *numbers, plan)


def test_the_sampler_is_the_policy_of_so_many_updates_ago(world, monkeypatch):
    """At a constant rate a shorter run is how a longer one began."""
    monkeypatch.setattr(optax, "cosine_decay_schedule", lambda rate, steps: rate)
    whole = runs_of(world, [2, 2, 8], [0.0, 0.7, 0.0], num_steps=6)
    begun = runs_of(world, [2, 2, 8], [0.0, 0.7, 0.0], num_steps=3)
    # The last update is the sixth; two before it three had been made.
    old = np.asarray(begun.policy)
    assert np.abs(old[0] - world.ref_logits).max() > 0.5
    np.testing.assert_allclose(whole.sampler[0], old[0], atol=1e-12)
    np.testing.assert_allclose(whole.sampler[1], 0.7 * np.rint(old[1] / 0.7))
    np.testing.assert_array_equal(whole.sampler[2], world.ref_logits)


def test_responses_are_those_that_the_sampler_says(world):
    """The policy says one thing only, and learns nothing from itself.

    Logits that are rounded to thousands are 0: that sampler says everything.
    """
    logits = np.zeros_like(world.ref_logits)
    logits[..., 2] = 50.0
    sure = dataclasses.replace(world, ref_logits=logits)
    after = np.asarray(runs_of(sure, [0, 0], [0.0, 1000.0], num_steps=1).policy)
    np.testing.assert_allclose(after[0], logits, atol=1e-6)
    assert np.abs(after[1] - logits).max() == pytest.approx(0.5, rel=1e-3)


def test_a_constant_advantage_is_learned_from(world):
    """Where no response is worth more than another, it is all there is."""
    level = dataclasses.replace(world, rewards=0 * world.rewards)
    without, with_it = (
        runs_of(level, [0], [0.0], num_steps=1, offset=x).policy[0] for x in (0.0, 2.0)
    )
    np.testing.assert_allclose(without, world.ref_logits, atol=1e-6)
    moved = np.abs(with_it - world.ref_logits).max()
    assert moved == pytest.approx(0.5, rel=1e-3)


GIVEN = {
    "none": lambda ratio: 1.0,
    "truncated": lambda ratio: min(ratio, 2.0),
    "masked": lambda ratio: ratio if 0.5 <= ratio <= 5 else 0.0,
}


def slope_by_hand(world, arm, drawn, policy, sampler, offset):
    """−Σ_t w_t A ∇ log π of each response, the mean over them; β = 0.3."""
    now, old, ref = (
        np.exp(x) / np.exp(x).sum(-1, keepdims=True)
        for x in (policy, sampler, world.ref_logits)
    )
    slope = np.zeros_like(policy)
    for x, group in [(x, g) for x, of_x in enumerate(drawn) for g in of_x]:
        states = [
            [(x, world.responses.prefix[s, t]) for t in range(n)]
            for s, n in zip(group, world.responses.lengths[group], strict=True)
        ]
        taken = [world.responses.token[s] for s in group]
        paid = [
            world.rewards[x, s]
            - 0.3
            * sum(
                np.log(now[at][a] / ref[at][a])
                for at, a in zip(of_s, tokens, strict=False)
            )
            for s, of_s, tokens in zip(group, states, taken, strict=True)
        ]
        for i, (of_s, tokens) in enumerate(zip(states, taken, strict=True)):
            advantage = paid[i] - np.mean(np.delete(paid, i)) + offset
            for at, a in zip(of_s, tokens, strict=False):
                weight = GIVEN[arm](now[at][a] / old[at][a])
                slope[at] -= weight * advantage * (np.eye(3)[a] - now[at])
    return slope / drawn.size


@pytest.mark.parametrize("arm", GIVEN)
def test_the_gradient_weighs_tokens_by_policy_over_sampler(world, arm):
    rng = np.random.default_rng(0)
    policy, sampler = (
        world.ref_logits + 1.5 * rng.normal(size=world.ref_logits.shape) for _ in "ab"
    )
    drawn = rng.integers(world.responses.num_responses, size=(2, 10, 3))

    def loss(logits):
        behind = jnp.asarray(sampler)
        known = {"sampler": behind, "beta": 0.3, "offset": 0.4}
        return loss_of(world, arm, jnp.asarray(drawn), logits, **known)

    found = jax.jit(jax.grad(loss))(jnp.asarray(policy))
    wanted = slope_by_hand(world, arm, drawn, policy, sampler, 0.4)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_row_is_of_its_own_sampler_offset_and_key(world, monkeypatch):
    """Each trained alone, by its own numbers, and measured by sums."""
    monkeypatch.setattr(e13, "make_world", lambda seed: world)
    base = e13.Config(together=(3, 5), samplers=("now", "8_ago", "rounded"))
    base = dataclasses.replace(base, num_steps=4)
    for sampler, offset, key in (
        ("now", 0.0, 5),
        ("8_ago", 2.0, 3),
        ("rounded", 2.0, 5),
    ):
        mine = {"sampler": sampler, "offset": offset, "key": key}
        row = e13.run(dataclasses.replace(base, **mine)).row
        lag, grid = {"now": (0, 0.0), "8_ago": (8, 0.0), "rounded": (0, 2.0)}[sampler]
        alone = train(
            world,
            "none",
            jnp.array(lag),
            jnp.array(grid),
            jnp.float64(0.5),
            jnp.array(offset),
            jax.random.key(key),
            Plan(4),
        )
        logits = np.asarray(alone.policy)
        shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        responses, reward = world.responses, 0.0
        for x, s in np.ndindex(world.rewards.shape):
            at = range(responses.lengths[s])
            chance = shares[x, responses.prefix[s, at], responses.token[s, at]].prod()
            reward += chance * world.rewards[x, s] / 2
        assert row["reward"] == pytest.approx(reward, rel=1e-9)
        assert {name: row[name] for name in mine} == mine
