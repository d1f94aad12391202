"""Proxies: rewards that are fitted to what the gold reward preferred."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.enumlm import (
    World,
    draw_preferences,
    response_logps,
    standardised,
    token_logps,
)
from experiments.minimise import lbfgs
from jaxalign.losses import Pair, bradley_terry_loss, dpo_loss
from jaxalign.rewards import ensemble_mean, ensemble_min, mean_minus_variance

SCALE = 2.0  # c of the labels, P(y over y') = σ(c (r − r'))
RIDGE = 1e-3
MEMBERS = 5

JOINED: dict[str, Callable[[jax.Array], jax.Array]] = {
    "ensemble_mean": ensemble_mean,
    "ensemble_min": ensemble_min,
    "ensemble_mean_minus_variance": mean_minus_variance,
}
"""What is made of the scores of an ensemble."""


def proxy_of(kind: str, world: World, num_pairs: int, seed: int) -> np.ndarray:
    """The proxy reward `[X, S]`, of mean 0 and variance 1 under the reference.

    Args:
      kind: `single`, `dpo`, or a name in `JOINED`.
      world: The world, whose rewards say which response is preferred.
      num_pairs: N, for each prompt.
      seed: Of the pairs, and of the resampling that makes an ensemble.

    Returns:
      Every kind is fitted to the same pairs: the members of an ensemble to resamples of
      them, since the linear model has but one optimum on the same ones.
    """
    pairs = draw_preferences(world, num_pairs, seed, scale=SCALE)
    ref = np.exp(world.ref_logps)
    if kind == "single":
        return standardised(linear_rewards(world, pairs)[0], ref)
    if kind == "dpo":
        return standardised(implicit_rewards(world, pairs), ref)
    rng = np.random.default_rng([seed, num_pairs])
    rows = rng.integers(num_pairs, size=(MEMBERS, num_pairs))
    scores = linear_rewards(world, pairs, rows)
    members = [standardised(x, ref) for x in scores]
    return standardised(np.asarray(JOINED[kind](jnp.asarray(members))), ref)


def linear_rewards(
    world: World, pairs: Pair[np.ndarray], rows: np.ndarray | None = None
) -> np.ndarray:
    """Linear Bradley–Terry models of each prompt, `[E, X, S]`.

    Args:
      world: The world, for its features.
      pairs: Indices `[X, N]`.
      rows: `[E, N]`, the pairs that each model is fitted to; None: one model, to all.
    """
    if rows is None:
        rows = np.arange(pairs.chosen.shape[1])[None]
    features = standardised(world.features[None], np.exp(world.ref_logps))
    resampled = (np.moveaxis(x[:, rows], 0, 1) for x in pairs)
    weights = _fit_all(features, *resampled)
    return np.einsum("exf,xsf->exs", np.asarray(weights), features)


def fit_linear(
    features: jax.Array, chosen: jax.Array, rejected: jax.Array
) -> jax.Array:
    """Weights `[F]` of features `[S, F]` that explain pairs `[N]`."""
    valid = jnp.ones(chosen.shape, bool)

    def loss(weights):
        scores = features @ weights
        pairs = Pair(scores[chosen], scores[rejected])
        ridge = RIDGE * jnp.sum(weights**2)
        return bradley_terry_loss(pairs, valid).loss.value + ridge

    return lbfgs(loss, jnp.zeros(features.shape[-1], features.dtype))


# Of each prompt, and of each member of an ensemble.
_fit_all = jax.jit(jax.vmap(jax.vmap(fit_linear), in_axes=(None, 0, 0)))


def implicit_rewards(world: World, pairs: Pair[np.ndarray]) -> np.ndarray:
    """The implicit reward log π/π_ref of a table that DPO (β = 1) trained, `[X, S]`.

    On the pairs one by one: `train_on_pairs` would take a million of 1093 responses.
    """
    logits = _train_dpo(world, *map(jnp.asarray, pairs))
    return np.asarray(response_logps(logits, world.responses)) - world.ref_logps


@functools.partial(jax.jit, static_argnames="num_steps")
def _train_dpo(world: World, chosen, rejected, num_steps: int = 400) -> jax.Array:
    mask = jnp.asarray(world.responses.mask)
    masks = Pair(mask[chosen], mask[rejected])

    def of_pairs(logits):
        logps = token_logps(logits, world.responses)
        return Pair(
            *(jax.vmap(lambda x, y: x[y])(logps, y) for y in (chosen, rejected))
        )

    ref = of_pairs(jnp.asarray(world.ref_logits))

    def loss(logits):
        policy = of_pairs(logits)
        # The mean is over the pairs of all prompts; each has a table of its own.
        return len(logits) * dpo_loss(policy, ref, masks, beta=1.0).loss.value

    optimizer = optax.adam(optax.cosine_decay_schedule(0.05, num_steps))

    def step(carry, _):
        logits, state = carry
        updates, state = optimizer.update(jax.grad(loss)(logits), state)
        updated: Any = optax.apply_updates(logits, updates)
        return (updated, state), None

    logits = jnp.asarray(world.ref_logits)
    carry, _ = jax.lax.scan(step, (logits, optimizer.init(logits)), length=num_steps)
    return carry[0]
