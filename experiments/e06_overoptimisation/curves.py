"""Gold reward and proxy as a policy is moved further and further by the proxy."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.e03_estimators.train import Plan, train
from experiments.enumlm import (
    World,
    best_of_n_logps,
    expected,
    kl_divergence,
    optimum,
)

BETAS = np.geomspace(8, 0.02, 60)
SAMPLES = 2 ** np.arange(16)
TRAINED_BETAS = (2.0, 0.5, 0.2, 0.1, 0.05, 0.02)
FIXED = 0.2
"""The β from which the fall is measured without a choice after the fact."""


class Curve(NamedTuple):
    """Reward and distance of more and more optimised policies, `[B, X]` each."""

    kl: np.ndarray
    proxy: np.ndarray
    gold: np.ndarray


def curve(optimiser: str, world: World, proxy: np.ndarray, key: int) -> Curve:
    """What `exact`, `best_of_n` or `ppo` reaches, given the proxy `[X, S]` alone."""
    blind = dataclasses.replace(world, rewards=proxy)
    if optimiser == "exact":
        policies = jax.vmap(lambda beta: optimum(blind, beta))(jnp.array(BETAS))
    elif optimiser == "best_of_n":
        ref = jnp.asarray(world.ref_logps)
        policies = (best_of_n_logps(ref, proxy, float(n)) for n in SAMPLES)
    else:
        rng, plan = jax.random.key(key), Plan()
        trained = jax.vmap(lambda beta: train(blind, "ppo", beta, rng, plan)[0])
        policies = trained(jnp.array(TRAINED_BETAS))
    points = [_measure(world, proxy, logps) for logps in policies]
    return Curve(*(np.stack(x) for x in zip(*points, strict=True)))


@jax.jit
def _measure(world: World, proxy, logps) -> tuple[jax.Array, ...]:
    kl = jax.vmap(kl_divergence)(logps, jnp.asarray(world.ref_logps))
    got = (jax.vmap(expected)(logps, jnp.asarray(x)) for x in (proxy, world.rewards))
    return kl, *got


def summary(optimiser: str, found: Curve) -> dict[str, float]:
    """Peak, end and fall of the gold reward: means over the prompts, one case each."""
    peak, cases = found.gold.argmax(0), np.arange(found.gold.shape[1])
    highest, end = found.gold[peak, cases], found.gold[-1]
    fixed = {"exact": int(np.argmin(np.abs(BETAS - FIXED))), "best_of_n": 6, "ppo": 2}
    fits = functools.partial(fit, optimiser)
    rises = (np.diff(found.proxy, axis=0) >= -1e-9).all(0)
    return {
        "peak": highest.mean(),
        "peak_kl": found.kl[peak, cases].mean(),
        "gold_end": end.mean(),
        "kl_end": found.kl[-1].mean(),
        "proxy_end": found.proxy[-1].mean(),
        "drop": (highest - end).mean(),
        "drop_share": (highest - end > 0.1).mean(),
        "drop_from_fixed": (found.gold[fixed[optimiser]] - end).mean(),
        "proxy_rises": float(rises.all()),
        "fit_r2": float(np.mean(list(map(fits, found.kl.T, found.gold.T)))),
    }


def fit(optimiser: str, kl: np.ndarray, gold: np.ndarray) -> float:
    """R² of the published form of the gold reward in d = √KL.

    d (a − b d) for best-of-n and d (a − b log d) for RL:
    https://arxiv.org/abs/2210.10760.
    """
    d = np.sqrt(np.maximum(kl, 1e-9))
    second = d**2 if optimiser == "best_of_n" else d * np.log(d)
    forms = np.stack([d, second], axis=1)
    weights, *_ = np.linalg.lstsq(forms, gold, rcond=None)
    return float(1 - np.var(gold - forms @ weights) / np.var(gold))


def text(values: np.ndarray, count: int = 12) -> str:
    """The mean over prompts at some points of a curve, as a cell of a table."""
    places = np.linspace(0, len(values) - 1, min(count, len(values))).round()
    return " ".join(f"{x:.4g}" for x in values.mean(1)[places.astype(int)])
