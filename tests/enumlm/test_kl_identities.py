"""What the KL estimators estimate, and what their gradients are, by enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.enumlm import (
    expected,
    expected_loss,
    kl_divergence,
    make_world,
    response_logps,
    state_logps,
    token_logps,
)
from jaxalign.ops import (
    kl_exact,
    kl_k1,
    kl_k2,
    kl_k3,
    kl_k3_k2,
    reward_to_go,
)


@pytest.fixture(scope="module")
def logits(small):
    """A policy that is not the reference."""
    with jax.enable_x64(True):
        noise = jax.random.normal(jax.random.key(0), small.ref_logits.shape)
        return small.ref_logits + noise


def of_sequences(estimator, world, logps):
    """An estimator of log-ratios of whole responses, as if each were one token."""
    ref = jnp.asarray(world.ref_logps)
    return estimator(
        logps[..., None], ref[..., None], jnp.ones_like(ref, bool)[..., None]
    )[..., 0]


def of_tokens(estimator, world, logits):
    """An estimator of each token's log-ratio, `[X, S, L]`."""
    logps = token_logps(logits, world.responses)
    ref = token_logps(jnp.asarray(world.ref_logits), world.responses)
    return estimator(logps, ref, jnp.broadcast_to(world.responses.mask, logps.shape))


def gradient(function, logits):
    return jax.jit(jax.grad(function))(logits)


def exact(world, logits):
    """∇KL(π ‖ ref), the divergence being differentiated as the sum that it is."""
    return gradient(
        lambda x: kl_divergence(response_logps(x, world.responses), world.ref_logps),
        logits,
    )


def of_sequence_loss(estimator, world, logits):
    """Expected gradient of the estimator as a loss, on whole responses."""

    def loss(x):
        logps = response_logps(x, world.responses)
        return expected_loss(logps, of_sequences(estimator, world, logps))

    return gradient(loss, logits)


def of_token_loss(estimator, world, logits):
    """Expected gradient of the estimator as a loss, summed over tokens."""

    def loss(x):
        values = of_tokens(estimator, world, x)
        sums = jnp.sum(values, axis=-1)
        return expected_loss(response_logps(x, world.responses), sums)

    return gradient(loss, logits)


def relative_error(found, wanted):
    return jnp.linalg.norm(found - wanted) / jnp.linalg.norm(wanted)


def test_values_of_whole_responses(small, logits):
    logps = response_logps(logits, small.responses)
    divergence = kl_divergence(logps, small.ref_logps)
    for estimator in (kl_k1, kl_k3, kl_k3_k2):
        mean = expected(logps, of_sequences(estimator, small, logps))
        np.testing.assert_allclose(mean, divergence, rtol=1e-12)
    assert jnp.all(of_sequences(kl_k3, small, logps) >= 0)
    assert jnp.any(of_sequences(kl_k1, small, logps) < 0)
    biased = expected(logps, of_sequences(kl_k2, small, logps))
    assert 1e-2 < abs(biased / divergence - 1) < 0.5


def test_values_summed_over_tokens(small, logits):
    logps = response_logps(logits, small.responses)
    divergence = kl_divergence(logps, small.ref_logps)
    for estimator in (kl_k1, kl_k3):
        values = jnp.sum(of_tokens(estimator, small, logits), axis=-1)
        np.testing.assert_allclose(expected(logps, values), divergence, rtol=1e-12)


def test_divergences_of_the_states_add_up(small, logits):
    logps = response_logps(logits, small.responses)
    visited = np.exp(state_logps(logps, small.responses))
    per_state = kl_exact(logits, jnp.asarray(small.ref_logits))
    total = np.mean(np.sum(visited * per_state, axis=-1))
    np.testing.assert_allclose(total, kl_divergence(logps, small.ref_logps), rtol=1e-12)


def test_k1_as_a_loss_has_no_gradient(small, logits):
    for found in (
        of_sequence_loss(kl_k1, small, logits),
        of_token_loss(kl_k1, small, logits),
    ):
        np.testing.assert_allclose(found, 0, atol=1e-14)


@pytest.mark.parametrize("estimator", [kl_k2, kl_k3_k2])
def test_k2_of_whole_responses_has_the_exact_gradient(small, logits, estimator):
    found = of_sequence_loss(estimator, small, logits)
    np.testing.assert_allclose(found, exact(small, logits), atol=1e-13)


def test_k3_of_whole_responses_has_the_gradient_of_the_other_direction(small, logits):
    found = of_sequence_loss(kl_k3, small, logits)
    ref = jnp.asarray(small.ref_logps)
    forward = gradient(
        lambda x: kl_divergence(ref, response_logps(x, small.responses)), logits
    )
    np.testing.assert_allclose(found, forward, atol=1e-13)
    assert relative_error(found, exact(small, logits)) > 0.1


@pytest.mark.parametrize("estimator", [kl_k2, kl_k3])
def test_summed_over_tokens_neither_is_the_gradient(small, logits, estimator):
    found = of_token_loss(estimator, small, logits)
    assert relative_error(found, exact(small, logits)) > 0.1


def test_with_one_token_there_is_no_difference():
    world = make_world(0, num_symbols=4, max_length=1, num_prompts=2)
    noise = jax.random.normal(jax.random.key(1), world.ref_logits.shape)
    logits = world.ref_logits + noise
    wanted = exact(world, logits)
    np.testing.assert_allclose(of_token_loss(kl_k2, world, logits), wanted, atol=1e-13)


def test_what_is_missing_is_the_effect_on_later_states(small, logits):
    """Adding E[Σₜ KLₜ ∇log π(y_<t)] to the token-summed k2 makes it exact."""
    responses = small.responses
    states = jax.lax.stop_gradient(kl_exact(logits, jnp.asarray(small.ref_logits)))
    mask = jnp.broadcast_to(responses.mask, (len(logits), *responses.mask.shape))
    per_token = jnp.where(mask, states[:, responses.prefix], 0.0)

    def missing(x):
        tokens = jnp.where(mask, token_logps(x, responses), 0.0)
        before = jnp.cumsum(tokens, axis=-1) - tokens
        losses = jnp.sum(per_token * before, axis=-1)
        return expected_loss(response_logps(x, responses), losses)

    found = of_token_loss(kl_k2, small, logits) + gradient(missing, logits)
    np.testing.assert_allclose(found, exact(small, logits), atol=1e-13)


def test_pathwise_exact_divergence_has_the_gradient_of_token_k2(small, logits):
    ref, responses = jnp.asarray(small.ref_logits), small.responses
    visited = np.exp(state_logps(response_logps(logits, responses), responses))

    def pathwise(x):
        return jnp.mean(jnp.sum(visited * kl_exact(x, ref), axis=-1))

    np.testing.assert_allclose(
        gradient(pathwise, logits), of_token_loss(kl_k2, small, logits), atol=1e-13
    )


def test_k1_in_the_reward_is_exact(small, logits):
    """As one sum for the whole response, and as reward-to-go for each token."""
    responses = small.responses
    mask = jnp.broadcast_to(responses.mask, (len(logits), *responses.mask.shape))
    cost = jax.lax.stop_gradient(of_tokens(kl_k1, small, logits))

    def loss(x, weights):
        tokens = jnp.where(mask, token_logps(x, responses), 0.0)
        losses = jnp.sum(weights * tokens, axis=-1)
        return expected_loss(response_logps(x, responses), losses)

    wanted = exact(small, logits)
    whole = jnp.broadcast_to(jnp.sum(cost, axis=-1, keepdims=True), cost.shape)
    for weights in (whole, reward_to_go(cost, mask)):
        found = jax.grad(loss)(logits, weights)
        np.testing.assert_allclose(found, wanted, atol=1e-13)
