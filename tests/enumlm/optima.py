"""Closed forms of optima, and losses averaged over all pairs, rankings or responses."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from experiments.enumlm import population_preferences, token_logps
from jaxalign.losses import kto_loss, plackett_luce_dpo_loss


def ipo_optimum(world, tau):
    """π ∝ π_ref exp(P(y ≻ π_ref)/τ), with P from the population of pairs."""
    pairs = population_preferences(world)
    preferred = pairs / (pairs + pairs.swapaxes(1, 2))
    wins = np.sum(preferred * np.exp(world.ref_logps)[:, None, :], axis=-1)
    return jax.nn.log_softmax(world.ref_logps + wins / tau)


def normalised(logps_of):
    """Solves Σ exp(logps_of(c)) = 1 for c, one for each prompt, by bisection."""
    low, high = (np.full((3, 1), side) for side in (-60.0, 60.0))
    for _ in range(200):
        middle = (low + high) / 2
        too_much = np.exp(logps_of(middle)).sum(-1, keepdims=True) > 1
        low, high = np.where(too_much, low, middle), np.where(too_much, middle, high)
    return logps_of(low)


def simpo_optimum(world, beta):
    lengths = world.responses.lengths
    return normalised(lambda c: np.minimum(lengths * (world.rewards / beta + c), 50.0))


def odds_optimum(world):
    lengths = world.responses.lengths
    return normalised(lambda c: -lengths * np.logaddexp(0, -(world.rewards + c)))


def without_reference(loss_fn, **hyperparameters):
    return lambda policy, ref, mask: loss_fn(policy, mask, **hyperparameters)


def kto_population(world, logits, z0, beta):
    """KTO on the chosen responses as desirable and the rejected ones as not."""
    pairs = population_preferences(world)
    mask = jnp.asarray(world.responses.mask)
    ref = token_logps(jnp.asarray(world.ref_logits), world.responses)
    policy = token_logps(logits, world.responses)

    def of_response(policy, ref, mask, desirable):
        arrays = policy[None], ref[None], mask[None], desirable[None]
        return kto_loss(*arrays, z0, beta=beta).loss.value

    of_prompt = jax.vmap(of_response, (0, 0, 0, None))
    total = 0.0
    for desirable, shares in ((True, pairs.sum(-1)), (False, pairs.sum(-2))):
        of_all = jax.vmap(of_prompt, (0, 0, None, None))
        losses = of_all(policy, ref, mask, jnp.asarray(desirable))
        total += jnp.mean(jnp.sum(shares * losses, axis=-1)) / 2
    return total


def rankings(world, size):
    """All ordered draws of `size` responses to a prompt, and their probabilities.

    A ranking of distinct places is drawn from the Plackett–Luce model of the gold
    reward after the responses are drawn from the reference.
    """
    groups = np.array(list(itertools.product(range(15), repeat=size)))
    drawn = np.exp(world.ref_logps)[:, groups].prod(-1)
    gold = world.rewards[:, groups]
    chance = np.ones_like(drawn)
    for k in range(size):
        chance *= np.exp(gold[..., k]) / np.exp(gold[..., k:]).sum(-1)
    # Each set of places comes up once for every order of it; one order is the ranking.
    return groups, drawn * chance * math.factorial(size)


def ranking_loss(world, size, beta):
    """Plackett–Luce DPO averaged over all rankings, as a function of the logits."""
    groups, shares = rankings(world, size)
    mask = jnp.asarray(world.responses.mask)
    ref = token_logps(jnp.asarray(world.ref_logits), world.responses)

    def loss(logits):
        def of_ranking(policy, ref, group):
            return plackett_luce_dpo_loss(
                policy[group], ref[group], mask[group], beta=beta
            ).loss.value

        policy = token_logps(logits, world.responses)
        of_prompt = jax.vmap(of_ranking, (None, None, 0))
        losses = jax.vmap(of_prompt, (0, 0, None))(policy, ref, groups)
        return jnp.mean(jnp.sum(shares * losses, axis=-1))

    return loss
