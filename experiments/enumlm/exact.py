"""Optimum, reward, KL divergence, frontier and the law of best-of-n, exactly."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.enumlm.responses import Responses
from experiments.enumlm.world import World


def expected(logps: jax.Array, x: jax.Array | np.ndarray) -> jax.Array:
    """Mean of `x` under the policy, over prompts too: `[X, S]` both, gives a scalar."""
    return jnp.mean(jnp.sum(jnp.exp(logps) * x, axis=-1))


def kl_divergence(logps: jax.Array, other: jax.Array | np.ndarray) -> jax.Array:
    """KL(π ‖ other), averaged over prompts, of log-probabilities `[X, S]`."""
    return expected(logps, logps - other)


def optimum(world: World, beta: float | jax.Array) -> jax.Array:
    """Log π*, `[X, S]`, where π* ∝ π_ref exp(r / β) maximises R − β KL.

    Eq. 4 of https://arxiv.org/abs/2305.18290.
    """
    return jax.nn.log_softmax(world.ref_logps + world.rewards / beta)


def optimal_value(world: World, beta: float | jax.Array) -> jax.Array:
    """Max R − β KL = β log Z, averaged over prompts."""
    logz = jax.nn.logsumexp(world.ref_logps + world.rewards / beta, axis=-1)
    return beta * jnp.mean(logz)


def repeated_share(logps: jax.Array, responses: Responses) -> jax.Array:
    """Share of symbols that repeat the one before them, among those that have one.

    Args:
      logps: `[X, S]`, of the policy.
      responses: The same S.

    Returns:
      A scalar, over all that the policy writes.
    """
    token, end = responses.token, responses.num_symbols
    follows = responses.mask[:, 1:] & (token[:, 1:] != end)
    repeats = follows & (token[:, 1:] == token[:, :-1])
    shares = jnp.exp(logps)
    written = (jnp.sum(shares @ x.sum(-1).astype(float)) for x in (repeats, follows))
    return jnp.divide(*written)


def objective(world: World, logps: jax.Array, beta: float | jax.Array) -> jax.Array:
    """J = R − β KL of a policy, from its log-probabilities `[X, S]`; a scalar."""
    gain = expected(logps, jnp.asarray(world.rewards))
    return gain - beta * kl_divergence(logps, jnp.asarray(world.ref_logps))


@jax.jit
def frontier_reward(world: World, kl: jax.Array) -> jax.Array:
    """The largest reward of any policy whose KL divergence is `kl`, a scalar.

    Reached by the optimum for the one β at which its divergence is `kl`, found by
    bisection in [1e-4, 1e4]. From `largest_kl` on the frontier is flat.
    """

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        too_far = kl_divergence(optimum(world, jnp.exp(middle)), world.ref_logps) > kl
        return jnp.where(too_far, middle, low), jnp.where(too_far, high, middle)

    bounds = (jnp.log(1e-4), jnp.log(1e4))
    low, high = jax.lax.fori_loop(0, 60, halve, bounds)
    return expected(optimum(world, jnp.exp((low + high) / 2)), world.rewards)


def largest_kl(world: World) -> float:
    """KL divergence of always giving the best response: where the frontier ends."""
    best = world.rewards.argmax(-1)
    return float(-world.ref_logps[np.arange(len(best)), best].mean())


class Evaluation(NamedTuple):
    """How good a policy is; all averaged over prompts.

    Attributes:
      reward: R(π).
      kl: KL(π ‖ π_ref).
      frontier_reward: The best reward at that KL.
      efficiency: reward / frontier_reward, at most 1: how good the direction is.
      rho: Normalised regret (J* − J(π)) / (J* − J(π_ref)) of J = R − β KL: 0 for the
        optimum, 1 for the reference, more for what is worse than no training.
    """

    reward: jax.Array
    kl: jax.Array
    frontier_reward: jax.Array
    efficiency: jax.Array
    rho: jax.Array


@jax.jit
def evaluate(world: World, logps: jax.Array, beta: float | jax.Array) -> Evaluation:
    """Evaluates a policy from its log-probabilities `[X, S]`."""
    reward = expected(logps, world.rewards)
    kl = kl_divergence(logps, world.ref_logps)
    frontier = frontier_reward(world, kl)
    # J* − J(π) = β KL(π ‖ π*), which has no cancellation where π is nearly π*.
    regret = beta * kl_divergence(logps, optimum(world, beta))
    rho = regret / (optimal_value(world, beta) - expected_ref_reward(world))
    return Evaluation(reward, kl, frontier, reward / frontier, rho)


def checked_numbers(
    world: World, logps: jax.Array, beta: float | jax.Array
) -> dict[str, float]:
    """`evaluate` as numbers by name; they are those of a policy, or it is an error."""
    found = evaluate(world, logps, beta)
    assert found.efficiency <= 1 + 1e-6, found
    assert found.kl >= 0, found
    assert found.rho >= -1e-9, found
    return {name: float(value) for name, value in found._asdict().items()}


def expected_ref_reward(world: World) -> jax.Array:
    """R(π_ref), which is J(π_ref) for every β."""
    return expected(jnp.asarray(world.ref_logps), world.rewards)


@jax.jit
def best_of_n_logps(
    ref_logps: jax.Array, scores: jax.Array | np.ndarray, n: int | jax.Array
) -> jax.Array:
    """Law of the best of n samples by score; ties are shared as the reference would.

    The best is at most y with probability F(y)ⁿ, for F the mass of the reference at
    or below the score of y.

    Args:
      ref_logps: `[..., S]`, what the samples are drawn from.
      scores: `[..., S]`.
      n: Samples, at least 1.

    Returns:
      `[..., S]`, log-probabilities.
    """
    other, own = jnp.asarray(scores)[..., None, :], jnp.asarray(scores)[..., :, None]
    mass = jnp.broadcast_to(jnp.exp(ref_logps)[..., None, :], (other < own).shape)
    below = jnp.sum(mass, axis=-1, where=other < own)
    level = jnp.sum(mass, axis=-1, where=other == own)
    upto = below + level
    # upto**n - below**n, without the cancellation.
    gain = n * jnp.log(upto) + jnp.log(-jnp.expm1(n * jnp.log1p(-level / upto)))
    return ref_logps - jnp.log(level) + gain
