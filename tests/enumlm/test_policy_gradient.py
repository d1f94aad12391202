"""Expected gradients of the policy-gradient estimators, over all samples and groups.

The exact gradient is that of R − β KL, differentiated as the finite sum that it is.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.enumlm import (
    expected_loss,
    expected_loss_of_groups,
    kl_divergence,
    optimum,
    response_logps,
    token_logps,
)
from experiments.enumlm.exact import optimal_value
from jaxalign.losses import (
    cispo_loss,
    combine,
    dr_grpo_loss,
    dual_clip_policy_loss,
    gspo_loss,
    policy_gradient_loss,
    ppo_policy_loss,
    ptx_term,
    reinforce_loss,
    sft_loss,
)
from jaxalign.ops import (
    centered_group_advantages,
    gae,
    greedy_baseline_advantages,
    group_advantages,
    reward_to_go,
    rloo_advantages,
)
from jaxalign.rewards import token_rewards
from tests.enumlm.conftest import BETA


def shaped_rewards(world, logits):
    """r − β log(π/π_ref) of each response, `[X, S]`: the KL penalty in the reward."""
    logps = response_logps(logits, world.responses)
    return world.rewards - BETA * (logps - world.ref_logps)


def expected_gradient(world, logits, loss_of, credit):
    """Over single samples: `loss_of(logps [1, L], mask [1, L], credit [1, ...])`.

    `credit` has something for each response, `[X, S, ...]`, which gets no gradient.
    """
    mask = jnp.asarray(world.responses.mask)

    def of_prompt(tokens, credit):
        return jax.vmap(loss_of)(tokens[:, None], mask[:, None], credit[:, None])

    def loss(x):
        losses = jax.vmap(of_prompt)(token_logps(x, world.responses), credit)
        return expected_loss(response_logps(x, world.responses), losses)

    return jax.jit(jax.grad(loss))(logits)


def group_gradient(world, logits, size, advantages_of, loss_fn=policy_gradient_loss):
    """Over all groups of `size` samples, one gradient step's loss on each."""
    mask = jnp.asarray(world.responses.mask)
    rewards = shaped_rewards(world, logits)

    def of_prompt(logps, reward):
        def of_group(group):
            advantages = advantages_of(reward[group], jnp.ones(size, bool))
            tokens, present = logps[group], mask[group]
            spread = jnp.broadcast_to(advantages[:, None], tokens.shape)
            return loss_fn(tokens, tokens, spread, present).loss.value

        whole = jnp.sum(logps, axis=-1, where=mask)
        return expected_loss_of_groups(whole, of_group, size)

    def loss(x):
        tokens = token_logps(x, world.responses)
        return jnp.mean(jax.vmap(of_prompt)(tokens, rewards))

    return jax.jit(jax.grad(loss))(logits)


def spread(x, mask):
    return jnp.broadcast_to(x, mask.shape)


def test_reinforce_is_unbiased(small, logits, exact):
    rewards = shaped_rewards(small, logits)

    def loss(logps, mask, reward):
        return reinforce_loss(logps, reward, mask).loss.value

    found = expected_gradient(small, logits, loss, rewards)
    np.testing.assert_allclose(found, exact, atol=1e-13)


def test_reinforce_with_reward_one_is_sft_and_teaches_nothing(small, logits):
    ones = jnp.ones((3, 15))

    def loss(logps, mask, reward):
        return reinforce_loss(logps, reward, mask).loss.value

    found = expected_gradient(small, logits, loss, ones)
    np.testing.assert_allclose(found, 0, atol=1e-14)  # E ∇log π = 0

    logps = token_logps(logits, small.responses)[0]
    mask = jnp.asarray(small.responses.mask)
    reinforce = reinforce_loss(logps, jnp.ones(15), mask)
    sft = sft_loss(logps, mask)
    np.testing.assert_allclose(reinforce.loss.total, sft.loss.total, rtol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_baseline_of_the_prompt_changes_no_expected_gradient(
    small, logits, exact, seed
):
    baseline = 10 * jax.random.normal(jax.random.key(seed), (3, 1), jnp.float64)
    rewards = shaped_rewards(small, logits) - baseline

    def loss(logps, mask, reward):
        return reinforce_loss(logps, reward, mask).loss.value

    found = expected_gradient(small, logits, loss, rewards)
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_less_the_soft_value_the_reward_is_zero_at_the_optimum(small):
    best = optimum(small, BETA)
    shaped = small.rewards - BETA * (best - small.ref_logps)
    value = BETA * jax.nn.logsumexp(small.ref_logps + small.rewards / BETA, axis=-1)
    np.testing.assert_allclose(shaped - value[:, None], 0, atol=1e-13)
    np.testing.assert_allclose(jnp.mean(value), optimal_value(small, BETA))


@pytest.mark.parametrize("size", [2, 3])
def test_leave_one_out_is_unbiased(small, logits, exact, size):
    found = group_gradient(small, logits, size, rloo_advantages)
    np.testing.assert_allclose(found, exact, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
def test_the_group_mean_as_baseline_shrinks_the_gradient(small, logits, exact, size):
    found = group_gradient(small, logits, size, centered_group_advantages)
    np.testing.assert_allclose(found, exact * (size - 1) / size, atol=1e-12)


def test_dr_grpo_is_the_policy_gradient_over_a_constant(small, logits, exact):
    loss = functools.partial(dr_grpo_loss, max_length=3)
    found = group_gradient(small, logits, 2, centered_group_advantages, loss)
    np.testing.assert_allclose(found, exact / 2 / 3, atol=1e-12)


def test_the_deviation_of_the_group_biases_the_direction(small, logits, exact):
    found = group_gradient(small, logits, 3, group_advantages)
    cosine = jnp.vdot(found, exact) / jnp.linalg.norm(found) / jnp.linalg.norm(exact)
    assert 0.8 < cosine < 0.999


def test_remax_is_unbiased(small, logits, exact):
    """With any response in the place of the greedy one, here the likeliest."""
    rewards = shaped_rewards(small, logits)
    likeliest = jnp.argmax(response_logps(logits, small.responses), axis=-1)
    greedy = jnp.take_along_axis(rewards, likeliest[:, None], axis=-1)[:, 0]
    mask = jnp.ones_like(rewards, bool)
    advantages = greedy_baseline_advantages(rewards, greedy, mask)

    def loss(logps, mask, advantage):
        return policy_gradient_loss(
            logps, logps, spread(advantage, mask), mask
        ).loss.value

    found = expected_gradient(small, logits, loss, advantages)
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_leave_one_out_is_the_centred_advantage_enlarged():
    rewards = jax.random.normal(jax.random.key(0), (5, 4), jnp.float64)
    mask = jnp.ones_like(rewards, bool)
    np.testing.assert_allclose(
        rloo_advantages(rewards, mask),
        4 / 3 * centered_group_advantages(rewards, mask),
        rtol=1e-12,
    )


def test_group_advantages_know_no_scale_and_no_origin():
    rewards = jax.random.normal(jax.random.key(0), (5, 4), jnp.float64)
    mask = jnp.ones_like(rewards, bool)
    advantages = functools.partial(group_advantages, mask=mask, eps=1e-14)
    np.testing.assert_allclose(
        advantages(rewards), advantages(3.0 * rewards - 7.0), atol=1e-9
    )
    equal = jnp.full((1, 4), 0.1)
    for function in (group_advantages, centered_group_advantages, rloo_advantages):
        assert jnp.all(function(equal, mask[:1]) == 0)


@pytest.mark.parametrize(
    "loss_fn",
    [
        ppo_policy_loss,
        dual_clip_policy_loss,
        cispo_loss,
    ],
)
def test_first_step_of_clipped_losses_is_the_policy_gradient(
    small, logits, exact, loss_fn
):
    """Their total is; the mean divides it by a number of tokens."""
    rewards = shaped_rewards(small, logits)

    def loss(logps, mask, reward):
        out = loss_fn(logps, jax.lax.stop_gradient(logps), spread(reward, mask), mask)
        return out.loss.total

    found = expected_gradient(small, logits, loss, rewards)
    np.testing.assert_allclose(found, exact, atol=1e-13)


def test_first_step_of_a_sequence_ratio_weighs_by_length(small, logits):
    """GSPO's gradient is that of the mean over tokens, which is not the exact one."""
    rewards = shaped_rewards(small, logits)

    def gspo(logps, mask, reward):
        old = jax.lax.stop_gradient(logps)
        return gspo_loss(logps, old, spread(reward, mask), mask).loss.value

    def by_hand(logps, mask, reward):
        reward = jax.lax.stop_gradient(reward)
        return -reward[0] * jnp.mean(logps, where=mask)

    np.testing.assert_allclose(
        expected_gradient(small, logits, gspo, rewards),
        expected_gradient(small, logits, by_hand, rewards),
        atol=1e-13,
    )


def test_kl_in_token_rewards_is_exact_for_every_form_of_credit(small, logits, exact):
    """Sum of the whole response, reward-to-go, and GAE with any critic at λ = 1."""
    mask = jnp.asarray(small.responses.mask)
    mask = jnp.broadcast_to(mask, (3, *mask.shape))
    ref = token_logps(jnp.asarray(small.ref_logits), small.responses)
    logps = token_logps(logits, small.responses)
    rewards = token_rewards(jnp.asarray(small.rewards), logps, ref, mask, kl_coef=BETA)
    whole = jnp.sum(rewards, axis=-1, keepdims=True)
    # A critic's value is that of a state, the same for all responses through it.
    values = jax.random.normal(jax.random.key(3), (3, 7), jnp.float64)
    values = values[:, small.responses.prefix]

    def loss(logps, mask, advantages):
        return policy_gradient_loss(logps, logps, advantages, mask).loss.value

    for credit in (
        jnp.broadcast_to(whole, rewards.shape),
        reward_to_go(rewards, mask),
        gae(rewards, values, mask, lam=1.0)[0],
    ):
        found = expected_gradient(small, logits, loss, credit)
        np.testing.assert_allclose(found, exact, atol=1e-12)


def test_with_the_exact_critic_any_lambda_is_unbiased(small, logits, exact):
    """V(s) = E[reward-to-go from s] leaves GAE's λ to weigh noise only."""
    responses = small.responses
    mask = jnp.broadcast_to(responses.mask, (3, *responses.mask.shape))
    ref = token_logps(jnp.asarray(small.ref_logits), responses)
    logps = token_logps(logits, responses)
    rewards = token_rewards(jnp.asarray(small.rewards), logps, ref, mask, kl_coef=BETA)
    weight = np.exp(np.asarray(response_logps(logits, responses)))
    to_go = np.asarray(reward_to_go(rewards, mask))
    mass, total = np.zeros((3, 7)), np.zeros((3, 7))
    for x in range(3):
        for s in range(responses.num_responses):
            for t in range(responses.lengths[s]):
                mass[x, responses.prefix[s, t]] += weight[x, s]
                total[x, responses.prefix[s, t]] += weight[x, s] * to_go[x, s, t]
    values = jnp.asarray((total / mass)[:, responses.prefix])

    def loss(logps, mask, advantages):
        return policy_gradient_loss(logps, logps, advantages, mask).loss.value

    for lam in (0.0, 0.5):
        advantages, _ = gae(rewards, values, mask, lam=lam)
        found = expected_gradient(small, logits, loss, advantages)
        np.testing.assert_allclose(found, exact, atol=1e-12)


def test_sft_goes_down_one_divergence_and_rl_the_other(small, logits, exact):
    data = optimum(small, 0.4)  # any policy to imitate

    def sft(x):
        tokens = token_logps(x, small.responses)
        mask = jnp.asarray(small.responses.mask)
        of_one = jax.vmap(lambda t, m: sft_loss(t[None], m[None]).loss.total)
        of_each = jax.vmap(of_one, (0, None))
        return expected_loss(data, of_each(tokens, mask))

    def forward(x):
        return kl_divergence(data, response_logps(x, small.responses))

    np.testing.assert_allclose(
        jax.grad(sft)(logits), jax.grad(forward)(logits), atol=1e-13
    )

    def reverse(x):
        return kl_divergence(response_logps(x, small.responses), optimum(small, BETA))

    np.testing.assert_allclose(exact, BETA * jax.grad(reverse)(logits), atol=1e-13)


def test_pretraining_term_goes_from_ppo_to_the_language_model(small, logits):
    responses = small.responses
    mask = jnp.asarray(responses.mask)
    text = mask[:5]

    def gradient(coef):
        def loss(x):
            logps = token_logps(x, responses)[0]
            old, advantages = token_logps(logits, responses)[0], spread(1.5, mask)
            ppo = ppo_policy_loss(logps, old, advantages, mask)
            terms = {"ppo": ppo, "ptx": ptx_term(logps[:5], text, coef=coef)}
            return combine(terms, {"ppo": 1.0, "ptx": 1.0}).loss.value

        return jax.grad(loss)(logits)

    def plain(loss_fn):
        return jax.grad(lambda x: loss_fn(token_logps(x, responses)[0]))(logits)

    old = token_logps(logits, responses)[0]
    ppo = plain(lambda x: ppo_policy_loss(x, old, spread(1.5, mask), mask).loss.value)
    likelihood = plain(lambda x: sft_loss(x[:5], text).loss.value)
    np.testing.assert_allclose(gradient(0.0), ppo, atol=1e-15)
    np.testing.assert_allclose(gradient(2.0), ppo + 2 * likelihood, atol=1e-14)
    np.testing.assert_allclose(gradient(1e9) / 1e9, likelihood, atol=1e-8)
