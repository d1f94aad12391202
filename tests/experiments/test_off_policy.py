"""E13: what is committed holds what it claims; the mean score is 0 once it is out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.e13_off_policy.centring import CENTRED, WEIGHTS, mean_score_term
from experiments.e13_off_policy.run import EXPERIMENT
from experiments.e13_off_policy.train import loss_of
from experiments.enumlm import make_world, response_logps
from experiments.runner import read_rows
from jaxalign.losses import policy_gradient_loss
from tests.experiments.quick import assert_twice_the_same


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def world():
    return make_world(1, max_length=3, num_prompts=2)


def tables(world, scale=1.0):
    """A policy, and a sampler that is another one."""
    rng = np.random.default_rng(0)
    shape = world.ref_logits.shape
    return (
        jnp.asarray(world.ref_logits + scale * rng.normal(size=shape)) for _ in "ab"
    )


def exact_gradient(world, weights, is_centred, advantages, policy, sampler):
    """Of the expected loss under the sampler: a sum over all responses."""
    mask = jnp.broadcast_to(jnp.asarray(world.responses.mask), advantages.shape)
    token = jnp.broadcast_to(jnp.asarray(world.responses.token), advantages.shape)
    law = jnp.exp(response_logps(sampler, world.responses))

    def states(table):
        return jax.nn.log_softmax(table)[:, world.responses.prefix, :]

    def loss(table):
        now, behind = states(table), states(sampler)
        logps, old = (
            jnp.take_along_axis(x, token[..., None], -1)[..., 0] for x in (now, behind)
        )
        fixed = jax.lax.stop_gradient(logps)
        given = weights(fixed, old, mask)
        penalty = jnp.zeros(mask.shape)
        if is_centred:
            penalty = mean_score_term(weights, now, behind, advantages, mask)

        def one(*arrays):
            logps, old, advantages, mask, weights, penalty = arrays
            return policy_gradient_loss(
                logps, old, advantages, mask, weights=weights, penalty=penalty
            ).loss.value

        arrays = logps, fixed, advantages, mask, given, penalty
        return jnp.sum(law * jax.vmap(jax.vmap(one))(*(x[:, :, None] for x in arrays)))

    return jax.jit(jax.grad(loss))(policy)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_constant_advantage_moves_nothing_once_the_mean_score_is_out(world, name):
    policy, sampler = tables(world)
    ones = jnp.ones((2, world.responses.num_responses, 3))
    run = functools.partial(exact_gradient, world, WEIGHTS[name])
    assert jnp.abs(run(False, ones, policy, sampler)).max() > 1e-3
    assert jnp.abs(run(True, ones, policy, sampler)).max() < 1e-14


def test_on_policy_the_term_changes_nothing_whatever_the_advantages(world):
    policy, _ = tables(world)
    shape = (2, world.responses.num_responses, 1)
    given = jax.random.normal(jax.random.key(1), shape)
    advantages = jnp.broadcast_to(given, (*shape[:2], 3))
    for weights in WEIGHTS.values():
        plain, centred = (
            exact_gradient(world, weights, x, advantages, policy, policy)
            for x in (False, True)
        )
        np.testing.assert_allclose(plain, centred, atol=1e-14)


def test_the_drift_is_what_the_formula_says(world):
    """By hand for the first token: Σ_a μ(a) w(a) (e_a − π), with truncated weights."""
    policy, sampler = tables(world)
    ones = jnp.ones((2, world.responses.num_responses, 3))
    found = exact_gradient(world, WEIGHTS["truncated"], False, ones, policy, sampler)
    for x in range(2):
        pi, mu = (np.exp(t[x, 0]) / np.exp(t[x, 0]).sum() for t in (policy, sampler))
        weights = np.minimum(pi / mu, 2)
        drift = sum(mu[a] * weights[a] * (np.eye(3)[a] - pi) for a in range(len(pi)))
        np.testing.assert_allclose(-found[x, 0], drift, atol=1e-12)


def test_the_loss_of_training_has_the_term(world):
    """A constant added to all advantages moves the gradient only if not centred."""
    policy, sampler = tables(world, scale=0.3)
    law = response_logps(sampler, world.responses)
    drawn = jax.random.categorical(jax.random.key(0), law[:, None], shape=(2, 40_000))
    drawn = drawn.reshape(2, -1, 4)
    moved = []
    for arm in ("none", "none_centred"):
        of = functools.partial(loss_of, world, arm, drawn, sampler=sampler, beta=0.5)
        grads = [
            jax.jit(jax.grad(functools.partial(of, offset=x)))(policy)
            for x in (0.0, 1.0)
        ]
        moved.append(float(jnp.abs(grads[1] - grads[0]).max()))
    assert moved[1] < 0.2 * moved[0]
    assert set(CENTRED) == {f"{name}_centred" for name in WEIGHTS}


def test_committed_keys_are_different_runs():
    rows = read_rows(EXPERIMENT.folder / "results.csv")
    cells = [(x["arm"], x["sampler"], x["offset"]) for x in rows]
    found = {(*cell, x["rho"]) for cell, x in zip(cells, rows, strict=True)}
    assert len(found) == len(rows) == 3 * len(set(cells))


@pytest.mark.slow
def test_quick_run(tmp_path):
    assert len(assert_twice_the_same(EXPERIMENT, tmp_path)) == 24
