"""Trained on infinitely many pairs, a loss ends where its theory says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.enumlm import (
    evaluate,
    expected,
    kl_divergence,
    optimum,
    population_preferences,
    preference_loss,
    response_logps,
)
from jaxalign.losses import (
    LossOutput,
    dpo_loss,
    ipo_loss,
    orpo_loss,
    robust_dpo_loss,
    simpo_loss,
)
from jaxalign.ops import Mean
from tests.enumlm.optima import (
    ipo_optimum,
    kto_population,
    odds_optimum,
    ranking_loss,
    simpo_optimum,
    without_reference,
)

pytestmark = pytest.mark.slow


def train(world, loss, num_steps=2000, learning_rate=0.1):
    """Adam from the reference; gives the log-probabilities that it ends with."""
    schedule = optax.cosine_decay_schedule(learning_rate, num_steps)
    optimizer = optax.adam(schedule)

    def step(carry, _):
        logits, state = carry
        updates, state = optimizer.update(jax.grad(loss)(logits), state)
        return (optax.apply_updates(logits, updates), state), None

    @jax.jit
    def run(logits):
        carry = logits, optimizer.init(logits)
        return jax.lax.scan(step, carry, length=num_steps)[0][0]

    with jax.numpy_dtype_promotion("standard"):  # Optax's schedules need it
        trained = run(jnp.asarray(world.ref_logits))
    return response_logps(trained, world.responses)


def on_pairs(world, loss_of, flip=0.0):
    preferences = population_preferences(world, flip=flip)
    return lambda logits: preference_loss(world, preferences, logits, loss_of)


def regret(world, logps, best):
    """How far from `best`, in units of how far the reference is."""
    ref = jnp.asarray(world.ref_logps)
    return kl_divergence(logps, best) / kl_divergence(ref, best)


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_dpo_reaches_the_optimum_of_rl(world, beta):
    logps = train(world, on_pairs(world, functools.partial(dpo_loss, beta=beta)))
    found = evaluate(world, logps, beta)
    assert found.rho < 1e-3
    assert 1 - 1e-3 < found.efficiency < 1 + 1e-6


def test_robust_dpo_reaches_it_through_flipped_labels(world):
    robust = functools.partial(robust_dpo_loss, beta=1.0, label_smoothing=0.2)
    plain = functools.partial(dpo_loss, beta=1.0)
    rho = [
        evaluate(world, train(world, on_pairs(world, loss, flip=0.2)), 1.0).rho
        for loss in (robust, plain)
    ]
    assert rho[0] < 1e-3
    assert rho[1] > 0.1


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_ipo_reaches_its_closed_form(world, tau):
    logps = train(world, on_pairs(world, functools.partial(ipo_loss, tau=tau)))
    assert regret(world, logps, ipo_optimum(world, tau)) < 1e-3


def test_plackett_luce_dpo_reaches_the_optimum_of_rl(small):
    logps = train(small, ranking_loss(small, size=3, beta=0.6), num_steps=1000)
    assert evaluate(small, logps, 0.6).rho < 1e-3


def test_simpo_reaches_its_own_optimum_and_not_that_of_rl(small):
    loss = without_reference(simpo_loss, beta=2.0, gamma=0.0)
    logps = train(small, on_pairs(small, loss))
    assert regret(small, logps, simpo_optimum(small, 2.0)) < 1e-3
    assert regret(small, logps, optimum(small, 2.0)) > 0.1


def test_orpo_is_drawn_between_the_two_optima_of_its_terms(small):
    """The likelihood ends on p(chosen)/|y|, the odds on log-odds equal to rewards."""

    def orpo(odds_weight):
        return without_reference(orpo_loss, odds_weight=odds_weight)

    def odds_alone(policy, ref, mask):
        whole, nll = (orpo(x)(policy, ref, mask).loss for x in (1.0, 0.0))
        return LossOutput(Mean(whole.total - nll.total, whole.weight), {})

    chosen = population_preferences(small).sum(-1) / small.responses.lengths
    likely = jax.nn.log_softmax(jnp.log(chosen))
    odds = odds_optimum(small)
    found = [train(small, on_pairs(small, x)) for x in (orpo(0.0), odds_alone)]
    assert regret(small, found[0], likely) < 1e-3
    assert regret(small, found[1], odds) < 1e-3
    assert all(evaluate(small, x, 1.0).rho > 0.1 for x in found)
    both = train(small, on_pairs(small, orpo(1.0)))
    assert kl_divergence(both, odds) < kl_divergence(jnp.asarray(likely), odds)
    assert kl_divergence(both, likely) < kl_divergence(jnp.asarray(odds), likely)


def test_kto_ends_on_what_is_chosen_more_often_than_not(small):
    """Wherever P(chosen) > P(rejected), by however little; β does not say how far."""
    pairs = population_preferences(small)
    shares = pairs.sum(-1) + pairs.sum(-2)
    mismatched = np.roll(shares / shares.sum(-1, keepdims=True), -1, axis=0)

    def loss(logits):
        h = response_logps(logits, small.responses) - small.ref_logps
        z0 = jnp.mean(jnp.sum(mismatched * h, axis=-1))
        return kto_population(small, logits, z0, 1.0)

    logps = train(small, loss)
    chosen_more = jnp.asarray((pairs.sum(-1) > pairs.sum(-2)).astype(float))
    assert expected(jnp.asarray(small.ref_logps), chosen_more) < 0.7
    assert expected(logps, chosen_more) > 0.99
    assert evaluate(small, logps, 1.0).rho > 0.1
