"""Gradients from samples are the enumerated ones, but for their sampling error.

Thousands of groups are drawn from a policy, and each gives the gradient that a training
step would take; their mean has to be within four standard errors of the expectation in
every coordinate. What has a bias must not be: the samples are many enough to see it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.enumlm import response_logps, sample, token_logps
from jaxalign.losses import (
    grpo_loss,
    policy_gradient_loss,
    ppo_policy_loss,
    reinforce_loss,
)
from jaxalign.ops import (
    centered_group_advantages,
    gae,
    group_advantages,
    kl_k1,
    kl_k2,
    rloo_advantages,
)
from jaxalign.rewards import token_rewards
from tests.enumlm.conftest import BETA
from tests.enumlm.test_policy_gradient import group_gradient

K, GROUPS = 3, 6000


def errors(world, logits, loss_of, expectation, *, kl_coef=BETA):
    """How many standard errors the mean gradient is off, `[X, P, V]`.

    `loss_of(logps, mask, rewards, ref_logps, values)`, all `[K, L]`, is the loss of a
    group, a mean over its responses; `expectation` is that of the mean over prompts.
    """
    responses = world.responses
    mask = jnp.asarray(responses.mask)
    logps = token_logps(logits, responses)
    ref = token_logps(jnp.asarray(world.ref_logits), responses)
    masks = jnp.broadcast_to(mask, logps.shape)
    scores = jnp.asarray(world.rewards)
    rewards = token_rewards(scores, logps, ref, masks, kl_coef=kl_coef)
    # A critic that knows nothing, but the same for all responses through a state.
    values = jax.random.normal(jax.random.key(3), logits.shape[:2], logits.dtype)
    values = values[:, responses.prefix]
    drawn = sample(jax.random.key(8), response_logps(logits, responses), GROUPS * K)
    drawn = drawn.reshape(len(scores), GROUPS, K)

    def of_prompt(table, groups, *known):
        def of_group(group):
            def loss(x):
                tokens = token_logps(x, responses)[group]
                return loss_of(tokens, mask[group], *(x[group] for x in known))

            return jax.grad(loss)(table)

        return jax.vmap(of_group)(groups)

    found = jax.jit(jax.vmap(of_prompt))(logits, drawn, rewards, ref, values)
    error = found.std(1, ddof=1) / np.sqrt(GROUPS)
    return np.abs(found.mean(1) - len(scores) * expectation) / error


def reinforce(logps, mask, rewards, ref, values):
    del ref, values
    return reinforce_loss(logps, rewards.sum(-1), mask).loss.value


def of_group(advantages_of, loss_fn):
    def loss(logps, mask, rewards, ref, values):
        del ref, values
        advantages = advantages_of(rewards.sum(-1), jnp.ones(K, bool))[:, None]
        spread = jnp.broadcast_to(advantages, mask.shape)
        return loss_fn(logps, jax.lax.stop_gradient(logps), spread, mask).loss.value

    return loss


def ppo(logps, mask, rewards, ref, values):
    """The first step; its total, since the mean divides by a number of tokens."""
    del ref
    advantages, _ = gae(rewards, values, mask, lam=1.0)
    old = jax.lax.stop_gradient(logps)
    return ppo_policy_loss(logps, old, advantages, mask).loss.total / K


UNBIASED = {
    "reinforce": reinforce,
    "rloo": of_group(rloo_advantages, policy_gradient_loss),
    "ppo": ppo,
}


@pytest.mark.parametrize("name", UNBIASED)
def test_sampled_gradients_are_the_exact_one(small, logits, exact, name):
    assert errors(small, logits, UNBIASED[name], exact).max() < 4


def test_sampled_gradients_of_grpo_are_its_enumerated_one(small, logits, exact):
    """KL is in the reward; the deviation it divides by turns it from the exact one."""
    loss = functools.partial(grpo_loss, beta=0.0)
    expectation = group_gradient(small, logits, K, group_advantages, loss)
    grpo = of_group(group_advantages, loss)
    assert errors(small, logits, grpo, expectation).max() < 4
    assert errors(small, logits, grpo, exact).max() > 8


def in_the_loss(estimator):
    """The KL term next to the policy's, in place of the reward."""

    def loss(logps, mask, rewards, ref, values):
        kl = jnp.sum(estimator(logps, ref, mask), axis=-1)
        return reinforce(logps, mask, rewards, ref, values) + BETA * kl.mean()

    return loss


BIASED = {
    "k1 in the loss": (in_the_loss(kl_k1), 0.0),
    "k2 of tokens in the loss": (in_the_loss(kl_k2), 0.0),
    "no KL term": (reinforce, 0.0),
    "a baseline with the sample itself": (
        of_group(centered_group_advantages, policy_gradient_loss),
        BETA,
    ),
}


@pytest.mark.parametrize("name", BIASED)
def test_a_bias_is_seen(small, logits, exact, name):
    loss, kl_coef = BIASED[name]
    assert errors(small, logits, loss, exact, kl_coef=kl_coef).max() > 6
