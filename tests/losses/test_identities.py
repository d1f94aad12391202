"""Identities between preference losses, and what they are where policy = reference."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign import losses
from jaxalign.losses import Pair
from jaxalign.ops import log1mexp
from tests.losses.losses_under_test import pair_inputs
from tests.losses.preference_oracles import sigmoid

EXO_START = 0.5 * np.log(0.5 / 0.999) + 0.5 * np.log(0.5 / 0.001)
AT_REFERENCE = {
    "dpo_loss": ({"label_smoothing": 0.2}, np.log(2)),
    "robust_dpo_loss": ({}, np.log(2)),
    "hinge_loss": ({}, 1.0),
    "ipo_loss": ({"tau": 0.3}, 1 / (4 * 0.3**2)),
    "ipo_length_normalised_loss": ({"tau": 0.3}, 1 / (4 * 0.3**2)),
    "nca_pair_loss": ({}, 2 * np.log(2)),
    "sppo_hard_loss": ({"eta": 3.0}, 4.5),
    "apo_zero_loss": ({}, 1.0),
    "apo_down_loss": ({}, 1.0),
    "discopop_loss": ({}, 0.5 * np.log(2) + 0.5),
    "exo_pair_loss": ({"label_smoothing": 1e-3}, EXO_START),
    "f_dpo_forward_kl_loss": ({}, np.log(2)),
    "f_dpo_js_loss": ({}, np.log(2)),
    "f_dpo_alpha_loss": ({}, np.log(2)),
    "ln_dpo_loss": ({}, np.log(2)),
    "ld_dpo_loss": ({}, np.log(2)),
    "dpop_loss": ({}, np.log(2)),
    "aot_pair_loss": ({}, np.log(2)),
    "aot_unpaired_loss": ({}, np.log(2)),
    "unweighted_dpo_loss": ({}, 0.0),
}


def batch(seed=0, n=6) -> Any:
    return pair_inputs(np.random.default_rng(seed), n, 5)


@pytest.mark.parametrize("name", AT_REFERENCE)
def test_policy_equal_to_the_reference(name):
    """Step 0 of every run: a known loss, and rewards of exactly zero."""
    options, expected = AT_REFERENCE[name]
    policy, _, mask = batch()
    out = jax.jit(lambda p: getattr(losses, name)(p, p, mask, **options))(policy)
    np.testing.assert_allclose(out.loss.value, expected, rtol=1e-6)
    for kind in ("margins", "chosen", "rejected"):
        reward = out.metrics[f"rewards/{kind}"].total
        np.testing.assert_allclose(reward, 0, atol=1e-6 if "f_dpo" in name else 0)


def test_bco_without_a_shift_at_the_reference():
    policy, _, mask = batch()
    out = losses.bco_loss(policy, policy, mask, jnp.float32(0))
    np.testing.assert_allclose(out.loss.value, 2 * np.log(2), rtol=1e-6)


def value_and_grad(loss, inputs):
    return jax.value_and_grad(lambda p: loss(p, *inputs[1:]).loss.value)(inputs[0])


def same(got, expected, inputs, **tolerance):
    """Equal values and gradients of two losses, compiled together."""

    def both(*inputs):
        return value_and_grad(got, inputs), value_and_grad(expected, inputs)

    a, b = jax.jit(both)(*inputs)
    chex.assert_trees_all_close(a, b, **{"rtol": 1e-5, "atol": 1e-7, **tolerance})


DPO = functools.partial(losses.dpo_loss, beta=0.3)
SAME_AS_DPO = {
    "f_dpo_reverse_kl_loss": {},
    "dpop_loss": {"penalty": 0.0},
    "ld_dpo_loss": {"alpha": 1.0},
    "length_regularised_dpo_loss": {"alpha": 0.0},
    "dpo_nll_loss": {"nll_weight": 0.0},
    "robust_dpo_loss": {"label_smoothing": 0.0},
}


@pytest.mark.parametrize("name", SAME_AS_DPO)
def test_without_its_own_term_it_is_dpo(name):
    loss = functools.partial(getattr(losses, name), beta=0.3, **SAME_AS_DPO[name])
    same(loss, DPO, batch())


def test_alpha_divergence_tends_to_dpo():
    """In float64: the difference of two numbers close to 1 is divided by alpha."""
    with jax.enable_x64(True):
        inputs = jax.tree.map(
            lambda x: x if x.dtype == bool else x.astype(np.float64), batch()
        )
        loss = functools.partial(losses.f_dpo_alpha_loss, beta=0.3, alpha=1e-7)
        same(loss, DPO, inputs, rtol=1e-4)


def test_reference_free_losses_are_those_with_a_uniform_reference():
    policy, _, mask = batch()

    def ln_dpo(p, m):
        uniform = Pair(*(np.full_like(x, -1.5) for x in policy))
        return losses.ln_dpo_loss(p, uniform, m, beta=2.0)

    same(lambda p, m: losses.simpo_loss(p, m, gamma=0.0), ln_dpo, (policy, mask))

    def dpo(p, m):
        constant = Pair(*(np.zeros_like(x) for x in policy))
        return losses.dpo_loss(p, constant, m, beta=0.3)

    cpo = functools.partial(losses.cpo_loss, beta=0.3, nll_weight=0.0)
    same(cpo, dpo, (policy, mask))


MARGIN_LOSSES = {
    "dpo_loss": {"label_smoothing": 0.1},
    "robust_dpo_loss": {},
    "ipo_loss": {},
    "hinge_loss": {},
    "exo_pair_loss": {},
    "discopop_loss": {},
    "unweighted_dpo_loss": {},
}


@pytest.mark.parametrize("name", MARGIN_LOSSES)
def test_both_sides_of_a_margin_loss_get_opposite_gradients(name):
    rng = np.random.default_rng(0)
    policy, ref = (Pair(*rng.normal(size=(2, 5, 1)).astype("f")) for _ in range(2))
    mask = Pair(*np.ones((2, 5, 1), bool))
    loss = functools.partial(getattr(losses, name), **MARGIN_LOSSES[name])
    _, grads = value_and_grad(loss, (policy, ref, mask))
    assert np.any(grads.chosen != 0)
    np.testing.assert_allclose(grads.chosen, -grads.rejected, rtol=1e-6)


def one_margin(loss, margin, **options):
    """The loss of one pair of tokens with log-ratios `margin` and 0."""
    zero, mask = jnp.zeros((1, 1)), Pair(*jnp.ones((2, 1, 1), bool))
    policy = Pair(jnp.reshape(margin, (1, 1)), zero)
    return loss(policy, Pair(zero, zero), mask, **options).loss.value


def test_conservative_dpo_is_stationary_at_the_noise_rate():
    """sigma(beta D) = 1 - epsilon, and below that margin it still pushes."""
    beta, noise = 0.4, 0.2
    optimum = np.log((1 - noise) / noise) / beta
    slope = jax.grad(
        lambda d: one_margin(losses.dpo_loss, d, beta=beta, label_smoothing=noise)
    )
    np.testing.assert_allclose(slope(jnp.float32(optimum)), 0, atol=1e-7)
    assert slope(jnp.float32(optimum - 1)) < 0 < slope(jnp.float32(optimum + 1))


@pytest.mark.parametrize("margin", [-3.0, 0.5, 4.0])
def test_the_mean_over_flipped_labels(margin):
    """Of robust DPO it is clean DPO, of DPO it is conservative DPO."""
    noise, margin = 0.3, jnp.float32(margin)

    def flipped(loss, **options):
        as_is, swapped = (one_margin(loss, s * margin, **options) for s in (1, -1))
        return (1 - noise) * as_is + noise * swapped

    robust = flipped(losses.robust_dpo_loss, label_smoothing=noise)
    np.testing.assert_allclose(robust, one_margin(losses.dpo_loss, margin), rtol=1e-5)
    smooth = one_margin(losses.dpo_loss, margin, label_smoothing=noise)
    np.testing.assert_allclose(flipped(losses.dpo_loss), smooth, rtol=1e-5)


def test_robust_dpo_is_unbounded_below_as_documented():
    values = [one_margin(losses.robust_dpo_loss, jnp.float32(d)) for d in (1e2, 1e4)]
    assert values[1] < values[0] < 0


@pytest.mark.parametrize("p", [1e-4, 0.3, 0.9, 0.999])
def test_odds_by_log1mexp_are_the_direct_odds(p):
    a = np.float32(np.log(p))
    direct = np.log(np.exp(float(a)) / (1 - np.exp(float(a))))
    np.testing.assert_allclose(a - log1mexp(jnp.float32(a)), direct, rtol=2e-5)


def test_orpo_is_finite_for_a_certain_response():
    mask = Pair(*np.ones((2, 1, 2), bool))
    certain = Pair(np.zeros((1, 2), np.float32), np.full((1, 2), -1e-9, np.float32))
    for policy in (certain, Pair(certain.rejected, certain.chosen)):
        value, grads = value_and_grad(losses.orpo_loss, (policy, mask))
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(g)) for g in grads)


def test_ipo_optimum_with_pairs_drawn_from_the_reference():
    """pi is proportional to ref exp(E[p(y beats y')]/tau): the gradient is 0 there."""
    with jax.enable_x64(True):
        rng, tau, n = np.random.default_rng(0), 0.7, 4
        ref = np.log(rng.dirichlet(np.ones(n)))
        wins = sigmoid(rng.normal(size=(n, n)))
        wins = wins / (wins + wins.T)  # P(y beats y') + P(y' beats y) = 1
        optimum = ref + wins @ np.exp(ref) / tau
        chosen, rejected = (x.ravel() for x in np.indices((n, n)))
        mask = Pair(*jnp.ones((2, 1, 1), bool))

        def expected_loss(theta):
            """Over both answers of a pair and its label; each is drawn twice."""
            logps = jax.nn.log_softmax(theta)

            def of_pair(better, worse):
                policy, refs = (
                    Pair(*(x[i].reshape(1, 1) for i in (better, worse)))
                    for x in (logps, jnp.asarray(ref))
                )
                return losses.ipo_loss(policy, refs, mask, tau=tau).loss.value

            weights = np.exp(ref[chosen] + ref[rejected]) * wins[chosen, rejected]
            return jnp.sum(weights * jax.vmap(of_pair)(chosen, rejected))

        slope = jax.jit(jax.grad(expected_loss))
        np.testing.assert_allclose(slope(jnp.asarray(optimum)), 0, atol=1e-12)
        assert np.max(np.abs(slope(jnp.asarray(ref)))) > 1e-2


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_ipo_optimum_of_a_certain_preference(tau):
    """Two answers, the first always preferred: it gets sigma(1/(2 tau))."""
    slope = jax.grad(lambda d: one_margin(losses.ipo_loss, d, tau=tau))
    optimum = jnp.float32(np.log(sigmoid(1 / (2 * tau)) / sigmoid(-1 / (2 * tau))))
    np.testing.assert_allclose(slope(optimum), 0, atol=1e-5)
